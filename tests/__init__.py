"""What has to be said before torch and scipy are imported."""

import os

# scikit-learn's checks of array API inputs skip themselves without it, and scipy reads
# it when it is imported.
os.environ["SCIPY_ARRAY_API"] = "1"
# Processes of one run share the cores: threads that wait for a core that others have
# wait busily, and everything takes several times as long.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
