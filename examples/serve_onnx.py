"""
An ONNX file and a small web service
====================================

:func:`~sklearn_l2cnn.export.to_onnx` writes a fitted classifier as one file, with its
standardised pixels and its labels. ``onnxruntime`` predicts from this file without
torch. Here a WSGI application does so: it takes a picture in a request and answers with
probabilities as JSON. It runs in any WSGI server; this example starts the one of
Python's standard library, sends it requests, and ends it.

The extra ``sklearn-l2cnn[onnx]`` is needed.
"""

# %%
# A classifier of digits, and its file.
import io
import json
import tempfile
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
import onnxruntime
from PIL import Image

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import load_digits_images
from sklearn_l2cnn.export import to_onnx

ROWS, EPOCHS = 600, 5

X, y = load_digits_images(return_X_y=True)
clf = L2CNNClassifier(max_epochs=EPOCHS, random_state=0).fit(X[:ROWS], y[:ROWS])
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.onnx"
    to_onnx(clf, path)
    session = onnxruntime.InferenceSession(path)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")

# %%
# The application. Nothing in it needs torch or this package. It refuses what is too
# large before it reads it, and what is no picture.
MOST_BYTES = 100_000


def answer(environ):
    """Return the status of a request, and an object for JSON."""
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed", {"error": "POST a picture"}
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not 0 < length <= MOST_BYTES:
        return "413 Content Too Large", {"error": f"1 to {MOST_BYTES} bytes, please"}
    try:
        picture = Image.open(io.BytesIO(environ["wsgi.input"].read(length)))
        pixels = np.asarray(picture.convert("L").resize((8, 8)))
    except (OSError, Image.DecompressionBombError):
        return "400 Bad Request", {"error": "this is no picture"}
    labels, probabilities = session.run(None, {"X": pixels[np.newaxis]})
    proba = [round(float(p), 4) for p in probabilities[0]]
    return "200 OK", {"label": int(labels[0]), "probabilities": proba}


def application(environ, start_response):
    """Answer a request, as WSGI has it."""
    status, content = answer(environ)
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(content).encode()]


# %%
# The service, on a free port of this machine alone. ``wsgiref`` is for trials; a real
# service gives ``application`` to a server such as gunicorn.
class Quiet(WSGIRequestHandler):
    """Log nothing."""

    def log_message(self, *args):
        """Do nothing."""


server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/"


def post(body):
    """Send bytes; return the status and what was answered."""
    try:
        with urlopen(Request(address, data=body), timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


# %%
# Requests: ten digits as PNG, and something that is no picture. The answers are those
# of the classifier.
for image in X[-10:]:
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    status, content = post(png.getvalue())
    expected = clf.predict_proba(image[np.newaxis])[0]
    assert status == 200 and content["label"] == clf.classes_[expected.argmax()]
    assert np.allclose(content["probabilities"], expected, atol=1e-4)
print("the last answer:", status, content)
print("no picture:     ", *post(b"hello"))
server.shutdown()
server.server_close()
