"""What a contract check returns: one named result per promise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from asmil.errors import AsmilError, ConfigError


class ContractError(AsmilError):
    """A part does not keep the contract of its room."""


def require(condition: bool, message: str) -> None:
    """Raise a `ContractError` that says what was seen, where a promise is not kept."""
    if not condition:
        raise ContractError(message)


@dataclass(frozen=True)
class CheckResult:
    """One promise: whether it is kept; if not, what was seen, why that was expected (None: it was not), what to add."""

    name: str
    ok: bool
    message: str = ""
    expected_failure: str | None = None
    fix: str = ""

    @property
    def surprising(self) -> bool:
        """It failed, or it passed though a failure was announced."""
        return self.ok == (self.expected_failure is not None)

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        if self.expected_failure is not None:
            verdict += f" (expected to fail: {self.expected_failure})"
        said = f"{self.name}: {verdict}" + (f" - {self.message}" if self.message else "")
        return f"{said}\n    to add: {self.fix}" if self.surprising and self.fix else said


@dataclass(frozen=True)
class CheckReport:
    """The results of all checks of one part."""

    part: str
    results: tuple[CheckResult, ...]

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed, expected or not."""
        return [result.name for result in self.results if not result.ok]

    @property
    def ok(self) -> bool:
        """Nothing failed but what was announced, and all of that did."""
        return not any(result.surprising for result in self.results)

    def raise_if_failed(self) -> None:
        """Raise unless the report is ok.

        Raises:
            ContractError: naming every surprising result.
        """
        surprising = [str(result) for result in self.results if result.surprising]
        if surprising:
            raise ContractError(
                f"{self.part} does not keep its contract",
                found="\n".join(surprising),
                fix="add what is missing, or announce a failure that is meant by expected_failures={name: reason}",
            )

    def __str__(self) -> str:
        return "\n".join([self.part, *(f"  {result}" for result in self.results)])


def run_checks(
    part: str,
    checks: Sequence[Callable[[], None]],
    *,
    expected_failures: Mapping[str, str] | None = None,
    fixes: Mapping[str, str] | None = None,
) -> CheckReport:
    """Run every check, named by its function; whatever one raises is its message, `fixes` say what to add by name.

    What fails by the error that a check before it named as its cause is "the same": it is explained once.

    Raises:
        ConfigError: a failure is expected of a check that does not exist.
    """
    expected = dict(expected_failures or {})
    names = [check.__name__ for check in checks]
    if unknown := sorted(set(expected) - set(names)):
        raise ConfigError("no check of that name", found=", ".join(unknown), fix=f"the checks: {', '.join(names)}")
    results: list[CheckResult] = []
    causes = ""
    for check in checks:
        message, fix = "", (fixes or {}).get(check.__name__, "")
        try:
            check()
        except Exception as error:  # noqa: BLE001  a foreign part may raise anything; the report says what
            message = str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
            message = message or type(error).__name__
            if message in causes:
                message, fix = "the same", ""
            causes += message if error.__cause__ else ""
        name = check.__name__
        results.append(CheckResult(name, not message, message, expected.get(name), fix))
    return CheckReport(part, tuple(results))
