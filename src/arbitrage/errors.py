"""The faults a user can cause or mend: shown as one line, without a traceback."""

from arbitrage.config.load import ConfigError
from arbitrage.io.tables import TableError
from arbitrage.publishing.errors import ExportError, VerifyError
from arbitrage.questions.normal_form import QuestionError
from arbitrage.routing.label_classes import RoutingError
from arbitrage.runtime.gpus import DeviceError
from arbitrage.runtime.locks import StudyBusy
from arbitrage.runtime.provenance import ChangedError
from arbitrage.speculation.protocols import EngineError

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
