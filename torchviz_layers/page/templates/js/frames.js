// Work that follows a change, a part of it in each frame, so that the reader sees first what matters most.

const FIRST = 8; // milliseconds of the first frame after a change, in which the reader waits for an answer
const BUDGET = 32; // and of the others: each frame has costs of its own, so that many short ones would take longest

/** What is still to be done: the most urgent have rank 0. @type {Map<any, {rank: number, task: () => void}>} */
const jobs = new Map();
let asked = 0;
let budget = FIRST;

/**
 * Do a task in the next frame or, if others take its time, in one of those that follow.
 * @param {any} key a job with the same key is replaced
 * @param {number} rank lower ones come first
 * @param {() => void} task
 */
export function soon(key, rank, task) {
  jobs.set(key, { rank, task });
  if (asked) return;
  budget = FIRST;
  asked = requestAnimationFrame(work);
}

/** @param {any} key of a job that is not wanted any more */
export function never(key) {
  jobs.delete(key);
}

function work() {
  asked = 0;
  const started = performance.now();
  // At least one job a frame: a frame that is late already would do none.
  do {
    const next = mostUrgent();
    if (next === undefined) return;
    const { task } = jobs.get(next);
    jobs.delete(next);
    task();
  } while (performance.now() - started < budget);
  if (!jobs.size) return;
  budget = BUDGET;
  asked ||= requestAnimationFrame(work);
}

function mostUrgent() {
  let [found, least] = [undefined, Infinity];
  for (const [key, { rank }] of jobs) if (rank < least) [found, least] = [key, rank];
  return found;
}
