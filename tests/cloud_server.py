"""Amazon's services for tests: moto's server, what it lacks, and faults on request.

Moto has no SimulatePrincipalPolicy and no StopTrainingJob, says of every job at once that it is completed, and takes
any checksum for right. S3 and SageMaker are stricter and slower: what differs is here.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sagemaker.models import sagemaker_backends
from werkzeug.serving import make_server

Environ = dict[str, Any]
Fault = Callable[[Environ], str | None]
"""Says of a request what happens to it: "cut" ends the connection without an answer, "short" in the midst of it, "full"
refuses it; None: nothing."""

ACCOUNT = "123456789012"
REGION = "eu-central-1"

_SIMULATED = """<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{}</EvaluationResults>
</SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
</SimulatePrincipalPolicyResponse>"""


class Service:
    """The services, behind one address.

    Attributes:
        fault: of the requests that come.
        denied: actions that the role of jobs may not do.
        steps: how a job goes on, one step for each time that it is asked for.
        requests: method and path of those that came.
        stops: jobs that were stopped.
    """

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self.fault: Fault | None = None
        self.denied: set[str] = set()
        self.steps: Iterator[Callable[[Any], None]] | None = None
        self.requests: list[tuple[str, str]] = []
        self.stops: list[str] = []

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1").decode()))
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        fault = self.fault(environ) if self.fault else None
        if fault == "cut":
            _hang_up(environ)
            return []
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target == "SageMaker.StopTrainingJob":
            return self._stop(json.loads(body)["TrainingJobName"], start_response)
        if target == "SageMaker.DescribeTrainingJob" and self.steps and (step := next(self.steps, None)):
            step(job_of(json.loads(body)["TrainingJobName"]))
        if b"Action=SimulatePrincipalPolicy" in body:
            return self._simulate(body, start_response)
        if not _checksum_fits(environ, body):
            return _answer(start_response, "400 Bad Request", _s3_error("BadDigest", "The checksum did not match."))
        if fault == "short":
            return _cut_short(self._moto(environ, start_response), environ)
        return list(self._moto(environ, start_response))

    def _simulate(self, body: bytes, start_response: Callable[..., Any]) -> Iterable[bytes]:
        results = ""
        for name, values in parse_qs(body.decode()).items():
            if name.startswith("ActionNames.member"):
                decision = "implicitDeny" if values[0] in self.denied else "allowed"
                results += (
                    f"<member><EvalActionName>{values[0]}</EvalActionName>"
                    f"<EvalResourceName>*</EvalResourceName><EvalDecision>{decision}</EvalDecision></member>"
                )
        return _answer(start_response, "200 OK", _SIMULATED.format(results))

    def _stop(self, name: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.stops.append(name)
        set_status("Stopping")(job_of(name))
        return _answer(start_response, "200 OK", "{}", "application/x-amz-json-1.1")


def job_of(name: str) -> Any:
    """Moto's record of a job."""
    return sagemaker_backends[ACCOUNT][REGION].training_jobs[name]


def set_status(status: str, secondary: str = "", message: str = "", **others: object) -> Callable[[Any], None]:
    """A step: the job is then in this state."""

    def step(job: Any) -> None:
        job.training_job_status, job.secondary_status = status, secondary or status
        transition = {"Status": job.secondary_status, "StartTime": job.creation_time, "StatusMessage": message}
        job.secondary_status_transitions = [*job.secondary_status_transitions, transition]
        for name, value in others.items():
            setattr(job, name, value)

    return step


def _checksum_fits(environ: Environ, body: bytes) -> bool:
    """As S3 looks at what comes with its SHA-256."""
    said = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
    if environ["REQUEST_METHOD"] != "PUT" or said is None or environ.get("HTTP_CONTENT_ENCODING") == "aws-chunked":
        return True
    return bool(said == base64.b64encode(hashlib.sha256(body).digest()).decode())


def _s3_error(code: str, message: str) -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"


def _answer(start_response: Callable[..., Any], status: str, text: str, kind: str = "text/xml") -> Iterable[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(text)))])
    return [text.encode()]


def _hang_up(environ: Environ) -> None:
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def _cut_short(answer: Iterable[bytes], environ: Environ) -> Iterator[bytes]:
    """Half of an answer, then no connection."""
    body = b"".join(answer)
    yield body[: len(body) // 2]
    _hang_up(environ)


@contextmanager
def serving() -> Iterator[tuple[Service, str]]:
    """Runs the services; gives them, and their address."""
    service = Service()
    server = make_server("127.0.0.1", 0, service, threaded=True, request_handler=MotoRequestHandler)
    server.log_startup = lambda: None  # type: ignore[method-assign, unused-ignore]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_role(name: str) -> str:
    """A role that SageMaker may take; its ARN."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    made = boto3.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy))
    return str(made["Role"]["Arn"])
