"""Measures what a generated project's service promises, each as a ratio to what it is compared with.

    uv run benchmarks/service.py                all of it, which takes about seven minutes
    uv run benchmarks/service.py start history  some of it

| name       | measured                                   | compared with                              | bound   |
| ---------- | ------------------------------------------ | ------------------------------------------ | ------- |
| throughput | runs a second of 2 and 4 workers           | so many times what one worker does         | >= 0.97 |
| start      | accepted to claimed, by an idle worker     | Celery alone on the same broker            | <= 2.00 |
|            | accepted to the crew's build function, p95 | 0.3 s                                      | <= 1.00 |
| intake     | requests a second of `POST /runs/...`      | a bare one: an insert and a `send_task`    | >= 0.60 |
| imports    | CPU for the import of the gateway          | FastAPI's, SQLAlchemy's and Celery's       | <= 1.30 |
| recovery   | kill -9 of a worker to the next attempt    | the lease and 2 s                          | <= 1.00 |
| memory     | PSS of an idle worker with CrewAI          | a process that imported CrewAI             | <= 1.60 |
|            | the same after 100 runs                    | after 5 runs                               | <= 1.05 |
| history    | the store's work with 1,000,000 ended runs | with 1,000                                 | <= 1.50 |

Both sides of a pair are measured in turns, so that a busy machine slows both; on a very busy one p95 says little. What
`start` and `recovery` tell of RabbitMQ needs its server (apt-get install rabbitmq-server), and `memory` needs root.
Exit code 1: a bound does not hold.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

from report import report
from serving import history, imports, intake, memory, recovery, start, throughput
from serving.ground import Ground


def main() -> int:
    """Measure what is asked for and print it."""
    modules = (throughput, start, intake, imports, recovery, memory, history)
    with tempfile.TemporaryDirectory() as place, Ground(Path(place)) as ground:
        measurements = {module.__name__.rpartition(".")[2]: partial(module.measure, ground) for module in modules}
        return report("Measures what a generated project's service promises.", measurements)


if __name__ == "__main__":
    sys.exit(main())
