"""Devices of several processes as one set, and the processes of a cluster.

Separate from `processes`, which does not need jax.
"""

import contextlib
import threading
from collections.abc import Callable

import jax
import numpy as np
from jax._src import clusters
from jax._src.cloud_tpu_init import running_in_cloud_tpu_vm
from jax.experimental import multihost_utils

from helix_jax.errors import ProcessError, RunError
from helix_jax.processes import MEETING_SECONDS, Processes, split_address


def on_a_pod() -> bool:
    """Whether this is a machine of a TPU pod, whose devices are always one set."""
    return running_in_cloud_tpu_vm


def share_devices(
    processes: Processes,
    coordinator: str,
    seconds: float,
    end_later: Callable[[str], threading.Timer],
) -> None:
    """Make the devices of all processes one set, and verify it by a sum over them.

    Args:
      processes: the joined processes.
      coordinator: HOST:PORT of process 0; the devices connect at the next port.
      seconds: timeout for the devices to connect.
      end_later: given the reason, starts a timer that ends the process unless it is
        cancelled.

    Raises:
      ProcessError: the sum is wrong.
    """
    host, port = split_address(coordinator)
    host = f"[{host}]" if ":" in host else host
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # `processes` detects losses; without this jax aborts all other processes.
    jax.config.update("jax_enable_recoverability", True)
    # This service handles SIGTERM itself, so a process asked to end would not end.
    jax.config.update("jax_enable_preemption_service", False)
    processes.wait("the devices")
    timer = end_later(
        f"the devices of {processes.count} processes gave no sum within {seconds:g} "
        f"seconds. See that the machines reach each other, port {port + 1} of {host} "
        "included."
    )
    jax.distributed.initialize(
        f"{host}:{port + 1}",
        processes.count,
        processes.index,
        initialization_timeout=int(seconds),
        cluster_detection_method="deactivate",
    )
    numbers = multihost_utils.process_allgather(np.int32(processes.index))
    timer.cancel()
    if sorted(np.asarray(numbers).tolist()) != list(range(processes.count)):
        raise ProcessError(
            f"the devices of {processes.count} processes do not add up: those of "
            f"processes {np.asarray(numbers).tolist()} answered."
        )


def part_devices(processes: Processes) -> None:
    """Disconnect the devices; process 0, which runs jax's server, last."""
    with contextlib.ExitStack() as end:
        if processes.index == 0:
            end.callback(jax.distributed.shutdown)
        else:
            jax.distributed.shutdown()
        processes.wait("the end of the devices")


def read_cluster(coordinator: str) -> tuple[str, int, int]:
    """(HOST:PORT, processes, number of this one), as `jax.distributed` reads them.

    Args:
      coordinator: HOST:PORT if known; else empty.

    Raises:
      RunError: no cluster is known here.
    """
    detect = clusters.ClusterEnv.auto_detect_unset_distributed_params
    found = detect(coordinator or None, None, None, None, None, int(MEETING_SECONDS))
    address, count, index, devices = found
    if address is None or count is None or index is None:
        raise RunError(
            "--processes=auto: neither SLURM, Open MPI, Kubernetes nor a TPU pod is "
            "known here; give --coordinator=HOST:PORT --processes=N --process=I."
        )
    if devices is not None:  # one process per device
        shown = ",".join(map(str, devices))
        jax.config.update("jax_cuda_visible_devices", shown)
        jax.config.update("jax_rocm_visible_devices", shown)
    return address, int(count), int(index)
