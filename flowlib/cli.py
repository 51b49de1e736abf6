"""The command line: ``flowlib train | sample | evaluate | chapters``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch

from flowlib.errors import InputError
from flowlib.recipes import RECIPES, Recipe
from flowlib.recipes.card import write_card
from flowlib.training import NonFiniteLoss, Plan, check_writable, save_checkpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 2 (with one line on stderr) for unusable input, 1 for a failed training."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (InputError, NonFiniteLoss) as error:
        print(f"flowlib: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("flowlib: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flowlib", description="Train, sample and judge the models of the book.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument("recipe", choices=sorted(RECIPES), help="what to run")
    recipe.add_argument("--scale", choices=["laptop", "full"], default="laptop", help="size of the run")
    recipe.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is a GPU")
    weights = argparse.ArgumentParser(add_help=False)
    weights.add_argument("--weights", type=Path, help="a .safetensors file; default: the weights the book ships")

    train = commands.add_parser("train", parents=[recipe], help="train a recipe and judge the result")
    for field in fields(Plan):
        train.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), help="override the plan")
    train.add_argument("--out", type=Path, help="folder for weights and card; default: runs/RECIPE")
    train.set_defaults(run=_train)

    sample = commands.add_parser("sample", parents=[recipe, weights], help="draw samples and save them as a picture")
    sample.add_argument("-n", type=int, default=100, help="how many")
    sample.add_argument("--seed", type=int, default=0, help="of the noise")
    sample.add_argument("--out", type=Path, default=Path("samples.png"), help="the picture")
    sample.set_defaults(run=_sample)

    evaluate = commands.add_parser("evaluate", parents=[recipe, weights], help="judge trained weights")
    evaluate.set_defaults(run=_evaluate)

    chapters = commands.add_parser("chapters", help="make what is generated in chapters/, or grade submissions")
    chapters.add_argument("--root", type=Path, default=Path(), help="folder of the book; default: this one")
    jobs = chapters.add_subparsers(required=True, metavar="JOB")
    for job, help in (
        ("notebooks", "run every notebook and store its outputs"),
        ("exercises", "make exercises.ipynb from solutions.ipynb"),
        ("readme", "make the chapter tables"),
    ):
        jobs.add_parser(job, help=help).set_defaults(run=_chapters, job=job)
    grade = jobs.add_parser("grade", help="grade a folder of submissions")
    grade.add_argument("submissions", type=Path, help="one notebook, or one folder, a student")
    grade.add_argument("--chapter", required=True, help="number of the chapter, such as 04")
    grade.add_argument("--out", type=Path, default=Path("grades"), help="folder for grades.csv and grades.md")
    grade.set_defaults(run=_grade)
    return parser


def _recipe(options: argparse.Namespace) -> tuple[Recipe, str]:
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device", expected="a GPU that torch can use", got="none", cure="--device cpu")
    return RECIPES[options.recipe](options.scale), device


def _train(options: argparse.Namespace) -> None:
    recipe, device = _recipe(options)
    recipe = recipe.changed(**{f.name: value for f in fields(Plan) if (value := getattr(options, f.name)) is not None})
    folder = options.out or Path("runs") / recipe.name
    check_writable(folder)
    torch.manual_seed(recipe.plan.seed)  # the times of the loss, and dropout
    path = folder / f"{recipe.name}.safetensors"
    run = recipe.start(device)
    n, seconds = 0, 0.0
    try:
        for step in run.steps:
            n, seconds = step.n, step.seconds
    except (KeyboardInterrupt, NonFiniteLoss):
        path = path.with_suffix(".stopped.safetensors")
        print(f"stopped after step {n}; the weights so far are in {path}", file=sys.stderr)
        raise
    finally:
        save_checkpoint(path, run.ema.model, {"recipe": recipe.name, "scale": options.scale, "steps": str(n)})
    metrics = recipe.evaluate(run.ema.model.cpu())
    card = path.with_suffix(".json")
    write_card(card, recipe, scale=options.scale, weights=path, seconds=seconds, device=device, metrics=metrics)
    _show(metrics)
    print(f"{path}\n{card}")


def _sample(options: argparse.Namespace) -> None:
    import matplotlib.pyplot as plt

    from flowlib.viz import images, samples, use

    recipe, device = _recipe(options)
    if recipe.draw is None:
        raise InputError("recipe", expected="a model that can be sampled", got=recipe.name)
    if options.n < 1:
        raise InputError("-n", expected="at least 1", got=options.n)
    check_writable(options.out.parent)
    model = recipe.load(options.weights).to(device)
    x = recipe.draw(model, options.n, torch.Generator().manual_seed(options.seed)).cpu()
    use()
    _ = images(x, columns=10) if x.ndim == 4 else samples(x)
    plt.savefig(options.out, bbox_inches="tight")
    plt.close()
    print(options.out)


def _evaluate(options: argparse.Namespace) -> None:
    recipe, _ = _recipe(options)
    _show(recipe.evaluate(recipe.load(options.weights)))


def _chapters(options: argparse.Namespace) -> None:
    from flowlib.coursework import book, exercises

    folders = [chapter.notebook.parent for chapter in book.chapters(options.root)]
    if options.job == "notebooks":
        written = [path for folder in folders for path in _notebooks(folder) if book.execute(path)]
    elif options.job == "exercises":
        written = [folder / "exercises.ipynb" for folder in folders if exercises.write(folder)]
    else:
        written = book.update_readmes(options.root)
    print("\n".join(map(str, written)) or "nothing has changed")


def _notebooks(folder: Path) -> list[Path]:
    return [folder / f"{folder.name}.ipynb", folder / "solutions.ipynb"]


def _grade(options: argparse.Namespace) -> None:
    from flowlib.coursework import book, grading

    chapters = {chapter.number: chapter.notebook.parent for chapter in book.chapters(options.root)}
    if options.chapter not in chapters:
        raise InputError("--chapter", expected=f"one of {', '.join(chapters)}", got=options.chapter)
    grading.grade(chapters[options.chapter], options.submissions, out=options.out)


def _show(metrics: dict) -> None:
    for name, value in metrics.items():
        print(f"{name:40s} {value}")


if __name__ == "__main__":
    sys.exit(main())
