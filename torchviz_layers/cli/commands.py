"""The command line: each command parses its arguments, calls the library once, and ends with an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import warnings

import click

from torchviz_layers._common.version import __version__
from torchviz_layers.cli.conversion import convert
from torchviz_layers.cli.pages import demo, explore, serve
from torchviz_layers.cli.stores import embed, extract, layers
from torchviz_layers.exceptions import TorchvizLayersError

# Heavy modules are imported inside the commands, so that `--help` appears at once.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="torchviz-layers")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """See how a network folds its samples, layer by layer."""
    context.obj = debug


for _command in (demo, explore, layers, extract, embed, serve, convert):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; an error of the library ends in one line, Ctrl-C in exit code 130."""
    # Otherwise the interpreter, when it ends, visits every object of torch once more.
    atexit.register(gc.freeze)
    # Without the source line: the user of the command line did not write it.
    warnings.formatwarning = lambda message, *_, **__: f"torchviz-layers: {message}\n"
    try:
        cli(standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except (click.Abort, KeyboardInterrupt):
        # A second Ctrl-C ends the clean-up without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        click.echo("torchviz-layers: interrupted", err=True)
        sys.exit(130)
    except (TorchvizLayersError, OSError) as problem:
        if "--debug" in sys.argv:
            raise
        text = str(problem) if isinstance(problem, TorchvizLayersError) else _about_file(problem)
        click.echo(f"torchviz-layers: {text}", err=True)
        sys.exit(1)


def _about_file(problem: OSError) -> str:
    """Return an operating system's error as one line: the file and the reason."""
    reason = problem.strerror or problem
    if problem.filename is not None:
        return f"{problem.filename}: {reason}"
    # Without a file name it is standard output, closed by the program that reads it (`| head`). What is left in its
    # buffer would fail again when the interpreter ends, so it goes to the null device.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return f"the output cannot be written: {reason}"
