"""The faults a user can cause or mend: shown as one line, without a traceback."""

from arbitrage.devices import DeviceError
from arbitrage.engines.protocols import EngineError
from arbitrage.loading import ConfigError
from arbitrage.provenance import ChangedError
from arbitrage.publishing.errors import ExportError, VerifyError
from arbitrage.questions.text import QuestionError
from arbitrage.routing.labels import RoutingError
from arbitrage.running import StudyBusy
from arbitrage.tables import TableError

FAULTS = (
    ChangedError,
    ConfigError,
    DeviceError,
    EngineError,
    ExportError,
    OSError,
    QuestionError,
    RoutingError,
    StudyBusy,
    TableError,
    VerifyError,
)
