"""How texts are divided into prompts and continuations; see `prompts`."""

import dataclasses

from helix_jax.choices import PLACE_RULES


@dataclasses.dataclass(frozen=True)
class PromptShape:
    """How texts are divided.

    Attributes:
      prompt: target tokens of a prompt, including special ones.
      continuation: target tokens after it.
      opening: first tokens of a prompt that the target reads itself; special tokens
        before the text are not counted.
      closing: last tokens that it reads itself, one or more.
      rule: which source token stands for a target token; see `prompts`.
    """

    prompt: int = 128
    continuation: int = 128
    opening: int = 4
    closing: int = 1
    rule: str = "after"

    def __post_init__(self) -> None:
        if self.rule not in PLACE_RULES:
            raise ValueError(
                f"PromptShape: rule must be of {PLACE_RULES}, got {self.rule!r}."
            )
        if self.closing < 1 or self.opening < 0 or self.continuation < 1:
            raise ValueError(
                "PromptShape: closing and continuation need to be 1 or more, opening "
                f"0 or more, got {self.closing}, {self.continuation}, {self.opening}."
            )
        if self.prompt <= self.opening + self.closing:
            raise ValueError(
                f"PromptShape: a prompt of {self.prompt} tokens has none between the "
                f"first {self.opening} and the last {self.closing}; make it longer."
            )
