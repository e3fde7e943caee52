"""The command that tells what the stored draws of samplers say."""

import json
from dataclasses import replace
from pathlib import Path

import click

from workbench.cli.group import cli
from workbench.errors import InputError
from workbench.jobs.registry import load_results
from workbench.posterior import RELABELLINGS, posterior_summary
from workbench.posterior.summary import csv_of, text_of, to_dict
from workbench.posterior.switching import DEFAULT


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--relabel", type=click.Choice(list(RELABELLINGS)), default=DEFAULT, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def posterior(folder: Path, relabel: str, form: str) -> None:
    """Summarise the stored draws of samplers, and say how far to trust them.

    Prints label-invariant functionals; weights, means and standard deviations after relabelling, beside the R-hat of
    the labels as sampled; the labellings that each chain visits; and how relabelling algorithms agree and what they
    cost. JSON is one object per sampler, each on a line.
    """
    summaries = [
        (
            comparison.name,
            method,
            replace(
                posterior_summary(trace, comparison.problem, relabel, comparison.columns),
                stale=comparison.stale.get(method),
            ),
        )
        for comparison in load_results(folder)
        for method, trace in comparison.items()
        if trace.is_sampler
    ]
    if not summaries:
        raise InputError(f"{folder}: holds no draws; run an experiment with a sampler, such as [methods.nuts]")
    if form == "json":
        lines = [{"experiment": name, "method": method, **to_dict(summary)} for name, method, summary in summaries]
        click.echo("\n".join(json.dumps(line, allow_nan=False) for line in lines))
    elif form == "csv":
        click.echo(csv_of(summaries), nl=False)
    else:
        click.echo("\n\n".join(text_of(summary, f"{name}: {method}") for name, method, summary in summaries))
