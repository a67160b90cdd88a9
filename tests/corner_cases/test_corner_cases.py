import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from torchviz_layers._common.votes import vote_shares
from torchviz_layers.corner_cases import CornerCase, find_corner_cases, informative_layers
from torchviz_layers.corner_cases.label_support import combined_probability, kernel_supports
from torchviz_layers.exceptions import DataError, NonFiniteError


def certain(answers, n_classes=3, confidence=0.97):
    """Probabilities of a network that gives these answers, all equally sure."""
    rest = (1 - confidence) / (n_classes - 1)
    return np.full((len(answers), n_classes), rest) + (confidence - rest) * np.eye(n_classes)[answers]


def of_kind(cases, kind):
    return [case.sample for case in cases if case.kind == kind]


def assert_same_cases(found, expected):
    """The scores come from products in float32, which may add in another order each time."""
    assert [(c.kind, c.sample, c.reason) for c in found] == [(c.kind, c.sample, c.reason) for c in expected]
    np.testing.assert_allclose([c.score for c in found], [c.score for c in expected], rtol=1e-5)


def ring(labels, k=2):
    """Neighbours of samples that stand in groups of their label."""
    labels = np.asarray(labels)
    return np.stack(
        [
            np.resize(np.flatnonzero((labels == label) & (np.arange(len(labels)) != row)), k)
            for row, label in enumerate(labels)
        ]
    )


def test_one_network_suspects_what_it_answers_otherwise_and_the_surest_first():
    targets = np.array([0, 1, 2, 0])
    probabilities = np.array([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.01, 0.98, 0.01], [0.7, 0.2, 0.1]])
    cases = find_corner_cases(probabilities, targets)
    assert of_kind(cases, "label suspect") == [2, 1]
    assert cases[0].score == pytest.approx(-np.log10(0.01))
    assert cases[0].reason == "labelled 2, but the network predicts 1"


def test_several_networks_suspect_only_where_all_are_wrong_and_agree():
    targets = np.array([0, 0, 0, 0])
    cases = find_corner_cases({"A": certain([1, 1, 1, 0]), "B": certain([1, 2, 0, 1])}, targets)
    assert of_kind(cases, "label suspect") == [0]
    assert of_kind(cases, "A wrong, B right") == [2]
    assert of_kind(cases, "B wrong, A right") == [3]


def test_suspects_of_several_networks_follow_the_mean_of_their_probabilities():
    targets = np.array([0, 0])
    first = np.array([[0.10, 0.90], [0.20, 0.80]])
    second = np.array([[0.40, 0.60], [0.22, 0.78]])  # means 0.25 and 0.21: the second row is the more suspect
    cases = find_corner_cases({"A": first, "B": second}, targets)
    assert of_kind(cases, "label suspect") == [1, 0]
    assert [case.score for case in cases] == pytest.approx([-np.log10(0.21), -np.log10(0.25)])


def test_neighbours_decide_between_labels_that_the_network_doubts_alike():
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    probabilities = certain(targets, 2)
    probabilities[[0, 4]] = [[0.3, 0.7], [0.7, 0.3]]
    near = ring(targets)
    near[4] = [1, 2]  # 4 stands among zeros, 0 among its own
    assert of_kind(find_corner_cases(probabilities, targets, neighbors={"hidden": near}), "label suspect") == [4, 0]


def test_a_late_change_is_a_vote_that_held_until_the_last_third():
    targets = np.array([0] * 4 + [1] * 4)
    right, wrong = ring(targets), ring(targets)
    wrong[0] = [5, 6]  # sample 0 stands among ones ...
    steady = {"a": wrong, "b": wrong, "c": right}  # ... until the last layer
    early = {"a": wrong, "b": right, "c": right}
    assert of_kind(find_corner_cases(certain(targets, 2), targets, neighbors=steady), "changes at the end") == [0]
    assert not of_kind(find_corner_cases(certain(targets, 2), targets, neighbors=early), "changes at the end")


def test_a_late_change_says_where_and_to_what():
    targets = np.array([0] * 4 + [1] * 4)
    right, wrong = ring(targets), ring(targets)
    wrong[0] = [5, 6]
    layers = {"a": wrong, "b": wrong, "c": wrong, "d": right}
    cases = find_corner_cases(certain(targets, 2), targets, neighbors=layers, class_names=["cat", "dog"])
    assert cases[0].kind == "changes at the end"
    assert (
        cases[0].reason
        == "in the network most of its neighbours are dog until the last layer, then cat, which is its label"
    )


def test_a_tied_vote_goes_to_the_nearest_as_on_the_page():
    targets = np.array([0] * 4 + [1] * 4)
    right, tied = ring(targets), ring(targets)
    tied[0] = [5, 2]  # one of each label, a one the nearest
    layers = {"a": tied, "b": tied, "c": right}
    (case,) = [
        c for c in find_corner_cases(certain(targets, 2), targets, neighbors=layers) if c.kind == "changes at the end"
    ]
    assert (case.sample, "neighbours are 1 until the last layer, then 0" in case.reason) == (0, True)


def test_a_vote_that_changes_and_ends_off_the_label_is_a_case():
    targets = np.array([0] * 4 + [1] * 4)
    right, wrong = ring(targets), ring(targets)
    wrong[0] = [5, 6]
    wavering = {"a": wrong, "b": right, "c": wrong}
    settled = {"a": wrong, "b": wrong, "c": wrong}
    (case,) = [
        c
        for c in find_corner_cases(certain(targets, 2), targets, neighbors=wavering)
        if c.kind == "changes and ends wrong"
    ]
    assert (case.sample, case.score) == (0, pytest.approx(0.5))  # two changes of two possible, unanimous votes
    assert "changes 2 times over 3 layers" in case.reason
    assert not of_kind(find_corner_cases(certain(targets, 2), targets, neighbors=settled), "changes and ends wrong")


def test_confident_but_isolated_is_sure_and_alone():
    targets = np.array([0] * 4 + [1] * 4)
    near = ring(targets)
    near[0], near[1] = [5, 6], [5, 6]
    probabilities = certain(targets, 2)
    probabilities[1] = [0.6, 0.4]  # alone, but not sure
    cases = find_corner_cases(probabilities, targets, neighbors={"hidden": near})
    assert of_kind(cases, "confident but isolated") == [0]
    assert cases[-1].score == pytest.approx(0.97)


def test_given_neighbours_equal_those_computed_from_the_activations():
    generator = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2], 20)
    layers = {
        "a": generator.normal(targets[:, None], 1, (60, 4)),
        "b": generator.normal(targets[:, None, None], 0.5, (60, 2, 2)),
    }
    near = {
        name: np.argsort(((X.reshape(60, -1)[:, None] - X.reshape(60, -1)) ** 2).sum(2) + 1e9 * np.eye(60))[:, :15]
        for name, X in layers.items()
    }
    probabilities = generator.dirichlet([1, 1, 1], 60)
    given = find_corner_cases(probabilities, targets, layers, neighbors=near)
    assert_same_cases(find_corner_cases(probabilities, targets, layers), given)


def test_kernel_supports_are_the_exact_leave_one_out_estimates():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(40, 3)).astype(np.float32)
    targets = generator.integers(0, 2, 40)
    rows = np.array([0, 7, 39])
    unit = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    spread = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(unit, targets).covariance_
    even = (unit - unit.mean(0)) @ np.linalg.cholesky(np.linalg.inv(spread))
    even /= np.linalg.norm(even, axis=1, keepdims=True)
    for k in (39, 12):  # all others, and the nearest
        for support, points in zip(kernel_supports(X, targets, 2, rows, k), (unit, even), strict=True):
            square = ((points[:, None] - points) ** 2).sum(2)
            kernel = np.exp(-2 * square / np.quantile(square[~np.eye(40, dtype=bool)], 0.5, method="lower"))
            expected = []
            for row in rows:
                others = [other for other in np.argsort(square[row]) if other != row][:k]
                weights = np.linalg.solve(kernel[np.ix_(others, others)] + 0.1 * np.eye(k), np.eye(2)[targets[others]])
                expected.append(kernel[row, others] @ weights)
            np.testing.assert_allclose(support, expected, atol=2e-4)


def test_kernel_supports_give_an_outlier_none_where_a_vote_would_be_sure():
    X = np.eye(5)[0] + 0.1 * np.random.default_rng(0).normal(size=(30, 5))
    X = np.concatenate([X, [-np.eye(5)[0]]])  # another direction, which no length makes up for
    plain, even = kernel_supports(X, np.zeros(31, np.int64), 2, np.arange(31))
    assert plain[:30, 0].mean() > 0.8
    assert abs(plain[30]).max() < 0.01
    assert even[30, 0] < even[:30, 0].min() - 0.3


def test_kernel_supports_mind_no_length():
    generator = np.random.default_rng(0)
    X, targets, rows = generator.normal(size=(30, 4)), generator.integers(0, 2, 30), np.arange(30)
    longer = X * generator.uniform(0.5, 20, (30, 1))
    for scaled, plain in zip(
        kernel_supports(longer, targets, 2, rows), kernel_supports(X, targets, 2, rows), strict=True
    ):
        np.testing.assert_allclose(scaled, plain, atol=1e-3)


def test_a_layer_in_which_all_samples_of_a_label_are_the_same_is_no_problem():
    targets = np.arange(20) % 2
    plain, even = kernel_supports(np.eye(2)[targets], targets, 2, np.arange(20))
    np.testing.assert_allclose(even, plain)
    assert (plain.argmax(1) == targets).all()


def test_combined_probability_is_the_mean_of_cube_roots():
    own, labels = np.array([0.001, 0.4]), np.array([0, 1])
    support = np.array([[0.0, 1.0], [0.2, 0.2]])
    around = np.array([1 / (1 + np.exp(4)), 0.5])  # softmax(4 support) of the given label
    expected = (np.cbrt(own) / 4 + np.cbrt(around) * 3 / 4) ** 3
    np.testing.assert_allclose(combined_probability(own, [support], labels), expected, rtol=1e-12)
    np.testing.assert_array_equal(combined_probability(own, [], labels), own)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"input": (3, 32, 32), "conv": (8, 16, 16), "pool": (8, 4, 4), "flat": (8, 1, 1), "dense": (9,)}, ["pool"]),
        ({"input": (784,), "a": (128,), "b": (64,)}, ["input", "b"]),
        ({"input": (3, 224, 224), "conv": (64, 112, 112), "dense": (100,)}, ["dense"]),
        ({"input": (3, 224, 224), "pool": (16, 6, 6), "dense": (9,)}, ["pool"]),
        ({"input": (4,)}, ["input"]),
        ({"input": (3, 224, 224)}, []),
    ],
)
def test_the_last_layer_with_places_tells_most_or_else_the_first_and_the_last(shapes, expected):
    assert informative_layers(shapes) == expected


def test_only_the_likeliest_suspects_are_looked_at_closely():
    targets = np.zeros(60, np.int64)
    probabilities = np.stack([np.linspace(0.01, 0.4, 60), np.linspace(0.99, 0.6, 60)], 1)
    X = np.random.default_rng(0).normal(size=(60, 3))
    suspects = of_kind(find_corner_cases(probabilities, targets, {"hidden": X}, limit=5), "label suspect")
    assert len(suspects) == 5
    assert max(suspects) < 20  # four times the limit, by the network's own word


def test_layers_that_lie_in_one_block_of_memory_are_not_taken_for_one_another():
    targets = np.arange(60) % 2
    probabilities = np.stack([np.linspace(0.01, 0.99, 60), np.linspace(0.99, 0.01, 60)], 1)
    block = np.random.default_rng(0).normal(size=60 * 4).astype(np.float32)
    wide, narrow = block.reshape(60, 4), block[:120].reshape(60, 2)
    networks = {"A": probabilities, "B": probabilities}
    found = find_corner_cases(networks, targets, {"A": {"wide": wide}, "B": {"narrow": narrow}})
    apart = find_corner_cases(networks, targets, {"A": {"wide": wide}, "B": {"narrow": narrow.copy()}})
    assert_same_cases(found, apart)


@pytest.mark.parametrize("X", [np.zeros((5, 3)), np.full((5, 1), 7.0)])
def test_kernel_supports_of_equal_rows_are_finite(X):
    for support in kernel_supports(X, np.array([0, 0, 0, 1, 1]), 2, np.arange(5)):
        np.testing.assert_allclose(support[0], [0.5, 0.5], atol=0.02)


def test_vote_shares_count_labels():
    shares = vote_shares(np.array([[1, 2], [0, 2], [0, 1]]), np.array([0, 1, 1]), 3)
    np.testing.assert_array_equal(shares, [[0, 1, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]])


def test_each_kind_holds_at_most_limit_cases():
    targets = np.zeros(50, np.int64)
    cases = find_corner_cases({"A": certain([1] * 50), "B": certain([1] * 25 + [0] * 25)}, targets, limit=7)
    assert len(of_kind(cases, "label suspect")) == 7
    assert len(of_kind(cases, "A wrong, B right")) == 7


def test_no_errors_give_no_suspects():
    targets = np.array([0, 1, 2])
    assert find_corner_cases({"A": certain(targets), "B": certain(targets)}, targets, neighbors=None) == []


def test_a_single_sample_is_no_problem():
    (case,) = find_corner_cases(certain([1]), np.array([0]), {"hidden": np.zeros((1, 4))})
    assert isinstance(case, CornerCase)
    assert case.kind == "label suspect"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predictions": np.ones(3)}, r"shape \(3,\)"),
        ({"predictions": np.ones((2, 3)) / 3}, r"shape \(2, 3\), targets \(3,\)"),
        ({"targets": np.array([0, 1, 3])}, "from 0 to 2"),
        ({"predictions": 5 * np.eye(3)}, "of logits, give outputs.softmax"),
        ({"predictions": {}}, "no network"),
        ({"predictions": {"A": np.ones((3, 3)), "B": np.ones((3, 2))}}, r"\[2, 3\] classes"),
        ({"predictions": {"A": np.ones((3, 3)) / 3}, "neighbors": {"B": {}}}, "none for network 'A'"),
        ({"neighbors": {"hidden": np.array([[0], [1], [9]])}}, "rows are 0 to 2"),
        ({"neighbors": {"hidden": np.zeros((3, 2))}}, "integers"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    given = {"predictions": certain([0, 1, 2]), "targets": np.array([0, 1, 2])} | arguments
    with pytest.raises(DataError, match=message):
        find_corner_cases(**given)


def test_not_a_number_among_activations_is_refused():
    with pytest.raises(NonFiniteError, match="hidden"):
        find_corner_cases(certain([0, 1, 2]), np.array([0, 1, 2]), {"hidden": np.array([[0.0], [np.nan], [1.0]])})
