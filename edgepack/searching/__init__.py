"""The budget compiler: from limits to the model that meets them, or to the limit that binds.

Read in this order:

1. `values`: what a search is asked, and what one candidate is.
2. `space`: the parameters of a trial, and the recipe that they stand for.
3. `study`: Optuna's study: asking, telling, resuming.
4. `foundry`: candidates as files with their quality; `making` and `workers`: here, or on other
   machines; `gauge`: their latency on the devices.
5. `tables` and `widths`: measured layers at each channel count, and which counts to take;
   `cutter`: both for one search; `kernels`: the layers as files.
6. `stages`: cheap before dear: what is tried next.
7. `loop`: all of it together; `readings`: what measurements say; `telling`: what one is told.
8. `finalists` and `conclusion`: the best measured side by side, and judged (`agreeing`: without
   labels); `untried`: what could still help; `document`: as JSON.
9. `asking`: from a request to all of this and back; `history`: the search as a page shows it.
"""
