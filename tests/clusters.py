"""A real Ray cluster of nodes on this machine, which tests lose nodes of and add others to."""

from __future__ import annotations

import subprocess
import sys

# the head, to which commands are joined, and a node with room for one, which is lost or to which others are added by a line
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"include_dashboard": False, "object_store_memory": 80_000_000, "num_gpus": 1}  # a card that is none
head = {"num_cpus": int(sys.argv[1]), "node_ip_address": "127.0.0.2", **small}
cluster = Cluster(initialize_head=True, head_node_args=head)
hosts = iter(range(3, 20))
add = lambda: cluster.add_node(num_cpus=1, node_ip_address=f"127.0.0.{next(hosts)}", **small)
node = add()
print("at", cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "lose":
        cluster.remove_node(node, allow_graceful=False)
    else:
        node = add()
    print("done", flush=True)
cluster.shutdown()
"""


class Nodes:
    """The cluster, in a process of its own: one that has loaded Ray begins others anew, which would make other tests slow.

    Args:
        head: cores of the head for what is given to the cluster; each other node has one.
    """

    def __init__(self, head: int):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(head)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = self._told("at")
        self.words = f"compute=ray compute.address={self.address} compute.cpus=1"  # of runs that it is given

    def _told(self, word):
        return next(line for line in self.process.stdout if line.startswith(word)).removeprefix(word).strip()

    def lose(self):
        """Kill all processes of the node that was added last."""
        self._tell("lose")

    def add(self):
        """Have one more node with room for one."""
        self._tell("add")

    def _tell(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        self._told("done")

    def end(self):
        """End all of it."""
        self.process.stdin.close()
        self.process.wait()
