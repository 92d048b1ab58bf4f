"""Runs on disk: SQLite by default, PostgreSQL by URL; nothing reported as saved is lost.

```python
with open_store("sqlite:///runs.db") as store:
    store.save(run)
    run = store.load("latest")
```
"""

from edgepack.store.engine import open_store
from edgepack.store.journal import is_final
from edgepack.store.reading import RunSummary
from edgepack.store.runs import Store

__all__ = ["RunSummary", "Store", "is_final", "open_store"]
