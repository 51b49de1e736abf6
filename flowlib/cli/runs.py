"""Commands about recipes: train, sample, evaluate."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast, get_type_hints

import torch
from torch import nn
from tyro.conf import OmitArgPrefixes, Positional, arg
from tyro.extras import literal_type_from_choices

from flowlib.errors import InputError
from flowlib.recipes import RECIPES, Recipe, ledger
from flowlib.recipes.card import write_card
from flowlib.recipes.recipe import WEIGHTS, Scale
from flowlib.training import (
    Journal,
    NonFiniteLoss,
    Parallel,
    Plan,
    Run,
    check_writable,
    facts_of,
    kept,
    load_checkpoint,
    processes,
    save_checkpoint,
)
from flowlib.training.distributed import rank, size

PICTURES = (".png", ".jpg", ".pdf", ".svg")

if TYPE_CHECKING:
    Name: TypeAlias = str
    Changes: TypeAlias = Any
else:
    Name = literal_type_from_choices(sorted(RECIPES))
    _theirs = arg(help_behavior_hint="(default: the recipe's)")
    Changes = make_dataclass(
        "Changes", [(name, Annotated[kind | None, _theirs], None) for name, kind in get_type_hints(Plan).items()]
    )
    Changes.__doc__ = "Numbers of the plan that differ from the recipe's." + Plan.__doc__.partition("is not.")[2]


@dataclass(kw_only=True)
class Recipes:
    """What the commands about recipes share.

    Attributes:
        recipe: what to run
        device: where; by default on a GPU if there is one
    """

    recipe: Positional[Name]
    device: Annotated[Literal["cpu", "cuda"] | None, arg(help_behavior_hint="")] = None

    def place(self) -> str:
        """Return the device.

        Raises:
            InputError: a GPU is asked for, and there is none.
        """
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device", expected="a GPU that torch can use", got="none", cure="--device cpu")
        return device


@dataclass(kw_only=True)
class Train(Recipes):
    """Train a recipe and judge the result; the same command again goes on where the last one stopped.

    Under torchrun (``torchrun --nproc-per-node 8 -m flowlib train NAME``) every process takes its share of each batch.

    Attributes:
        scale: size of the run
        plan: numbers of the plan
        out: folder for weights and card, and for NAME.run/ with checkpoints and log; by default runs/NAME
        save_every: steps between checkpoints; the two newest are kept
        sample_every: steps between pictures of samples in NAME.run/; 0 for none
        fresh: forget the checkpoints of an earlier run
        compile: let torch.compile make the kernels
        half: keep the weights, and judge them, rounded to float16: half the room
        parallel: under torchrun: ddp (a whole model a process) or fsdp (a part of it); by default ddp
    """

    scale: Scale = "laptop"
    plan: OmitArgPrefixes[Changes]
    out: Annotated[Path | None, arg(help_behavior_hint="")] = None
    save_every: int = 1000
    sample_every: int = 0
    fresh: bool = False
    compile: bool = False
    half: bool = False
    parallel: Annotated[Parallel | None, arg(help_behavior_hint="")] = None

    def run(self) -> None:
        """Train, then write weights and card."""
        device = self.place()
        if self.save_every < 1:
            raise InputError("--save-every", expected="at least 1 step", got=self.save_every)
        if self.sample_every < 0:
            raise InputError("--sample-every", expected="a number of steps, or 0 for none", got=self.sample_every)
        recipe = RECIPES[self.recipe](self.scale).changed(
            **{name: value for name, value in asdict(self.plan).items() if value is not None}
        )
        folder = self.out or Path("runs") / recipe.name
        check_writable(folder)
        with processes(device) as here:
            torch.manual_seed(recipe.plan.seed + 1_000_003 * rank())  # the times of the loss, and dropout
            parallel = self.parallel or ("ddp" if size() > 1 else None)
            run = recipe.start(here, compiled=self.compile, parallel=parallel)
            self._follow(recipe, run, folder)
            model, number = recipe.finished(run), size()
            if rank():
                return
        path = folder / f"{recipe.name}.safetensors"
        facts = {"recipe": recipe.name, "scale": self.scale, "steps": str(run.n)}
        save_checkpoint(path, model, facts, half=self.half)
        if self.half:
            load_checkpoint(path, model)  # what is judged is what was written
        metrics = recipe.judge(model, device)
        card = path.with_suffix(".json")
        write_card(
            card,
            recipe,
            scale=self.scale,
            weights=path,
            seconds=run.seconds,
            device=device,
            processes=number,
            metrics=metrics,
        )
        if folder.resolve() == WEIGHTS:
            ledger()
        _show(metrics)
        print(f"{path}\n{card}")

    def _follow(self, recipe: Recipe, run: Run, out: Path) -> None:
        """Go through the steps that are left, and keep what they say."""
        folder = out / f"{recipe.name}.run"
        journal: Journal | None = None
        try:
            facts = {"recipe": recipe.name, "scale": self.scale}
            for step in kept(run, folder, every=self.save_every, fresh=self.fresh, facts=facts):
                journal = journal or Journal(folder, step.n - 1, recipe.plan.batch_size)
                journal.write(step)
                if self.sample_every and step.n % self.sample_every == 0 and recipe.draw is not None:
                    model = recipe.finished(run)
                    if rank() == 0:
                        _picture(recipe, model.to(run.device), 100, 0, folder / f"samples_{step.n:08d}.png")
            if journal is None and rank() == 0:
                print(f"{folder} has its {run.n} steps already; --steps gives it more, --fresh starts again")
        except NonFiniteLoss:
            model = recipe.finished(run)  # every process calls it: the average may be sharded
            if rank() == 0:
                path = out / f"{recipe.name}.stopped.safetensors"
                print(f"stopped after step {run.n}; the weights so far are in {path}", file=sys.stderr)
                save_checkpoint(path, model, {"recipe": recipe.name, "scale": self.scale, "steps": str(run.n)})
            raise
        finally:
            if journal is not None:
                journal.close()


@dataclass(kw_only=True)
class Trained(Recipes):
    """What the commands about trained weights share; the scale is the one that the file says it was trained at.

    Attributes:
        weights: a .safetensors file; by default the weights that the book ships
    """

    weights: Annotated[Path | None, arg(help_behavior_hint="")] = None

    def choose(self) -> Recipe:
        """Return the recipe, at the scale of the weights."""
        path = self.weights or WEIGHTS / f"{self.recipe}.safetensors"
        facts = facts_of(path) if path.is_file() else {}
        return RECIPES[self.recipe](cast(Scale, facts.get("scale", "laptop")))


@dataclass(kw_only=True)
class Sample(Trained):
    """Draw samples and save them as a picture.

    Attributes:
        n: how many
        seed: of the noise
        out: the picture
    """

    n: Annotated[int, arg(aliases=["-n"])] = 100
    seed: int = 0
    out: Path = Path("samples.png")

    def run(self) -> None:
        """Draw, and write the picture."""
        recipe, device = self.choose(), self.place()
        if recipe.draw is None:
            raise InputError("recipe", expected="a model that can be sampled", got=recipe.name)
        if self.n < 1:
            raise InputError("-n", expected="at least 1", got=self.n)
        if self.out.suffix.lower() not in PICTURES or self.out.is_dir():
            raise InputError("--out", expected=f"a name that ends in {' or '.join(PICTURES)}", got=self.out)
        check_writable(self.out.parent)
        _picture(recipe, recipe.load(self.weights).to(device), self.n, self.seed, self.out)
        print(self.out)


@dataclass(kw_only=True)
class Evaluate(Trained):
    """Judge trained weights."""

    def run(self) -> None:
        """Print the numbers."""
        recipe, device = self.choose(), self.place()
        model = recipe.load(self.weights)
        _show(recipe.judge(model, device))


def _picture(recipe: Recipe, model: nn.Module, n: int, seed: int, path: Path) -> None:
    import matplotlib.pyplot as plt

    from flowlib.viz import images, samples, use

    assert recipe.draw is not None
    x = recipe.draw(model, n, torch.Generator().manual_seed(seed)).cpu()
    use()
    _ = images(x, columns=10) if x.ndim == 4 else samples(x)
    plt.savefig(path, bbox_inches="tight")
    plt.close()


def _show(metrics: dict) -> None:
    if not metrics:
        print("not judged: there is no judge of these pictures at hand; pip install 'flowlib[fid]' brings one")
    for name, value in metrics.items():
        print(f"{name:40s} {value}")
