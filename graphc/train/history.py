"""What `fit` reports when it is done: one record an epoch. Plain numbers only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from graphc.base.display import Displayed


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data.

    number: from 1. loss: mean over the samples, as they were trained on. accuracy: share of samples
    that were classified right at that moment; None if the loss does not classify. The validation
    figures are None without validation data. seconds: of training, validation not included.
    learning_rates: of each group of parameters (one, if there are no groups) in the last step.
    """

    number: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    samples: int
    learning_rates: tuple[float, ...] = ()


@dataclass
class History(Displayed):
    """Every finished epoch of a `fit`, those before it was resumed included.

    interrupted: whether Ctrl-C ended it. stopped_early: whether early stopping did. best_epoch: the
    number of the best one, if early stopping watched.
    """

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    stopped_early: bool = False
    best_epoch: int | None = None

    @property
    def loss(self) -> list[float]:
        """Training loss of each epoch."""
        return [e.loss for e in self.epochs]

    @property
    def accuracy(self) -> list[float | None]:
        """Training accuracy of each epoch."""
        return [e.accuracy for e in self.epochs]

    @property
    def validation_loss(self) -> list[float | None]:
        """Validation loss after each epoch."""
        return [e.validation_loss for e in self.epochs]

    @property
    def validation_accuracy(self) -> list[float | None]:
        """Validation accuracy after each epoch."""
        return [e.validation_accuracy for e in self.epochs]

    @property
    def learning_rates(self) -> list[tuple[float, ...]]:
        """The learning rate of each group of parameters in each epoch's last step."""
        return [e.learning_rates for e in self.epochs]

    @property
    def seconds(self) -> list[float]:
        """Training time of each epoch."""
        return [e.seconds for e in self.epochs]

    @property
    def samples_per_second(self) -> float:
        """Training samples a second over all epochs; 0 if there are none."""
        seconds = sum(self.seconds)
        return sum(e.samples for e in self.epochs) / seconds if seconds else 0.0

    def as_dict(self) -> dict[str, object]:
        """Plain lists and numbers, for JSON."""
        return asdict(self)
