"""The module `gpumcp` of an interface: what its file may use. expose, get_model_path and list_configured_models are there
without an import too, in neighbouring files as well."""

import builtins
import contextvars
import sys
import types

current = contextvars.ContextVar("gpumcp_call")


class Cancelled(BaseException):
    """Raised inside a function whose caller has cancelled it. No Exception, so that `except Exception` lets it pass."""


class Context:
    """The call that runs: a parameter of this type is passed in and does not show in the tool's schema."""

    def __init__(self, runner, call_id, session):
        self._runner, self._id = runner, call_id
        self._session_id, self._cancelled = session, False

    @property
    def cancelled(self):
        """True once the caller has cancelled or left."""
        return self._cancelled

    @property
    def session(self):
        """A dict that belongs to this caller alone: state that other agents must not see or change."""
        return self._runner.session_of(self._session_id)

    def progress(self, progress, total=None, message=None):
        """Says how far the call is; `progress` grows from call to call."""
        self._runner.send({"type": "progress", "id": self._id, "progress": float(progress),
                           "total": None if total is None else float(total), "message": str(message or "")})

    def log(self, message, level="info"):
        """A line for the caller's log, if the caller asked for that level."""
        self._runner.send({"type": "log", "id": self._id, "level": str(level), "data": self._runner.hide(str(message))})


def context():
    """The Context of the call that runs on this thread or in this task."""
    found = current.get(None)
    if found is None:
        raise RuntimeError("no call runs here: context(), progress() and session() belong inside an exposed function")
    return found


def progress(progress, total=None, message=None):
    context().progress(progress, total, message)


def cancelled():
    return context().cancelled


def session():
    return context().session


def install(runner):
    """Makes the module and puts the three names where every file of the interface finds them."""

    def expose(function=None, **options):
        def take(inner):
            runner.expose(inner, options)
            return inner

        return take(function) if function is not None else take

    def get_model_path(name):
        """The folder of a model: --model NAME=FOLDER, $GPUMCP_MODELS, gpumcp's store, the Hugging Face cache."""
        return runner.ask("model_path", name)

    def list_configured_models():
        """The names of the models that this sandbox was configured with."""
        return runner.ask("models", "")

    module = types.ModuleType("gpumcp", __doc__)
    for one in (expose, get_model_path, list_configured_models, context, progress, cancelled, session, Context, Cancelled):
        setattr(module, one.__name__, one)
    Context.__module__ = "gpumcp"
    sys.modules["gpumcp"] = module
    for one in (expose, get_model_path, list_configured_models):
        setattr(builtins, one.__name__, one)
    return module
