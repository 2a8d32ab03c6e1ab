"""What to do where Hailo's compiler is missing: files that compile the network on another machine.

Nobody has run them with the real compiler yet: it can't be downloaded without an account. The commands in them are
checked against this project's own.
"""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["HOW_TO_GET_IT", "write_recipe"]

HOW_TO_GET_IT = (
    "Hailo's Dataflow Compiler is not here. It is closed, for Linux on x86-64 alone, and free after registration: "
    "hailo.ai, Developer Zone, Software Downloads, 'Dataflow Compiler' 3.33 for Hailo-8, which goes with HailoRT "
    "4.23, a wheel. Install it into a Python of its own and name that with --compiler-python"
)

_DOCKERFILE = """\
# The compiler and cardrec, each in a Python of its own: the compiler's is 3.10, cardrec needs 3.11.
#   docker build --tag cardrec-hailo .
# in a folder with this file, hailo_dataflow_compiler-*.whl and a checkout of cardrec
FROM ubuntu:22.04
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install --yes --no-install-recommends \\
    build-essential graphviz libgl1 libglib2.0-0 libgraphviz-dev pkg-config \\
    python3.10-dev python3.10-venv python3-tk python3.11-dev python3.11-venv && rm -rf /var/lib/apt/lists/*
COPY hailo_dataflow_compiler-*.whl /tmp/
RUN python3.10 -m venv /opt/hailo && /opt/hailo/bin/pip install /tmp/hailo_dataflow_compiler-*.whl
COPY cardrec /opt/cardrec
RUN python3.11 -m venv /opt/python && /opt/python/bin/pip install '/opt/cardrec' 'onnx>=1.16'
WORKDIR /opt/cardrec
"""

_COMPILE = """\
#!/bin/bash
# Compiles in the container that the Dockerfile makes. Give it the folders of the bundle and of the calibration set.
#   ./compile.sh BUNDLE SET OUT
# With a GPU (and NVIDIA's container toolkit) the compiler keeps its optimisation level; without, it goes down to 0.
set -euo pipefail
bundle=$(realpath "$1") set=$(realpath "$2") out=$(realpath --canonicalize-missing "$3")
mkdir -p "$out"
gpus=()
command -v nvidia-smi >/dev/null && gpus=(--gpus all)
volumes=(--volume "$bundle:/bundle:ro" --volume "$set:/set:ro" --volume "$out:/out")
docker run --rm "${{gpus[@]}}" "${{volumes[@]}}" cardrec-hailo \\
    /opt/python/bin/python -m {command}
"""

_EC2 = """\
#!/bin/bash
# Compiles on an EC2 machine with a GPU (g4dn.xlarge, about half a dollar an hour), and ends it whatever happens.
#   KEY=my-key SUBNET=subnet-... GROUP=sg-... ./ec2.sh BUNDLE SET OUT
# In this folder: Dockerfile, compile.sh, the compiler's wheel, and a cardrec checkout. GROUP must let ssh in.
set -euo pipefail
bundle=$(realpath "$1") set=$(realpath "$2") out=$(realpath --canonicalize-missing "$3")
cd "$(dirname "$0")"
image=$(aws ssm get-parameter --query Parameter.Value --output text --name \\
    /aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id)
id=$(aws ec2 run-instances --image-id "$image" --instance-type g4dn.xlarge --key-name "$KEY" \\
    --subnet-id "$SUBNET" --security-group-ids "$GROUP" --instance-initiated-shutdown-behavior terminate \\
    --block-device-mappings 'DeviceName=/dev/sda1,Ebs={{VolumeSize=120}}' \\
    --query 'Instances[0].InstanceId' --output text)
trap 'aws ec2 terminate-instances --instance-ids "$id" >/dev/null' EXIT
aws ec2 wait instance-status-ok --instance-ids "$id"
host=ubuntu@$(aws ec2 describe-instances --instance-ids "$id" --output text \\
    --query 'Reservations[0].Instances[0].PublicDnsName')
ssh -o StrictHostKeyChecking=accept-new "$host" mkdir work
scp -r Dockerfile compile.sh hailo_dataflow_compiler-*.whl cardrec "$host:work/"
scp -r "$bundle" "$host:work/bundle"
scp -r "$set" "$host:work/set"
ssh "$host" 'cd work && sudo docker build --tag cardrec-hailo . && sudo ./compile.sh bundle set out'
mkdir -p "$out"
scp -r "$host:work/out/." "$out/"
"""


def command(architecture: str, level: int, script: bool, floats: bool) -> str:
    """The command inside the container."""
    words = ["training.compile", "/bundle", "--calibration", "/set/calibration.npy", "--arch", architecture]
    words += ["--level", str(level), "--compiler-python", "/opt/hailo/bin/python", "--out", "/out"]
    words += ["--script", "/set/more.alls"] if script else []
    return shlex.join(words + (["--floats", "/set/floats"] if floats else []))


def write_recipe(folder: Path, architecture: str, level: int, *, script: bool, floats: bool) -> list[Path]:
    """Writes Dockerfile, compile.sh and ec2.sh into a folder.

    Args:
        folder: the one.
        architecture: of the chip.
        level: of optimisation.
        script: whether there are further commands, which must lie beside the set as `more.alls`.
        floats: whether the bundle is in integers; the one in floats must lie beside the set as the folder `floats`.
    """
    filled = {"command": command(architecture, level, script, floats)}
    texts = {"Dockerfile": _DOCKERFILE, "compile.sh": _COMPILE.format(**filled), "ec2.sh": _EC2.format(**filled)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        if name.endswith(".sh"):
            (folder / name).chmod(0o755)
    return [folder / name for name in texts]
