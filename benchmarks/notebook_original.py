"""The user's notebook as a script, for an environment with TensorFlow 2.15, umap-learn, Bokeh, pandas and Pillow.

`python benchmarks/notebook_original.py DATA.npz MODELS OUT`: the cells once per line on standard input; each run is
answered by one JSON line. It imports nothing of this project. What differs from the notebook as it was written:

1. MNIST comes from DATA.npz (`images` in [0, 1] of shape (n, 28, 28), `targets`) instead of a download;
2. the models are those in MODELS, trained by `models/train.py` after the notebook's recipe;
3. figures are saved as files, all five, and not shown in a browser;
4. removed names: `np.str` is `str`, `plot_width` is `width`, `circle(size=)` is `scatter(size=)`;
5. `Image.fromarray` gets no `mode`, `predict` no progress bar;
6. `seaborn` and `matplotlib` are not imported: no cell uses them.
"""

# ruff: noqa: ANN001, ANN201 (a notebook has no annotations)

import base64
import json
import sys
import warnings
from io import BytesIO

answers, sys.stdout = sys.stdout, sys.stderr

import numpy as np  # noqa: E402 - libraries print on import
import pandas as pd  # noqa: E402
import umap  # noqa: E402
from bokeh import palettes, plotting  # noqa: E402
from bokeh.models import CategoricalColorMapper, ColumnDataSource, HoverTool  # noqa: E402
from PIL import Image  # noqa: E402
from tensorflow.keras import models  # noqa: E402

warnings.filterwarnings("ignore")

TOOLTIP = """<div><img src='@image' style='float: left; margin: 5px'/>
<span style='font-size: 16px; color: #224499'>Digit:</span> <span style='font-size: 18px'>@digit{truth}</span></div>"""


def predict_until_layer(model, index, data):
    """Run the model cut off behind one layer."""
    cut = models.Model(inputs=model.input, outputs=model.layers[index].output)
    return cut.predict(data, verbose=0)


def embeddable_image(data):
    """Return a picture as a data URL."""
    buffer = BytesIO()
    Image.fromarray((255 * (1 - data)).astype(np.uint8)).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def umap_plot(path, embedding, x, y, truth=None, title=""):
    """Plot an embedding with the pictures in its tooltips and save it."""
    frame = pd.DataFrame(embedding, columns=("x", "y"))
    frame["image"] = list(map(embeddable_image, x))
    frame["digit"] = [str(d) for d in y]
    if truth is not None:
        frame["trueDigit"] = [str(d) for d in truth]
    mapping = CategoricalColorMapper(factors=np.arange(10).astype(str), palette=palettes.Spectral10)
    figure = plotting.figure(title=title, width=600, height=600, tools=("pan, wheel_zoom, reset"))
    figure.add_tools(HoverTool(tooltips=TOOLTIP.replace("{truth}", "" if truth is None else " (true: @trueDigit)")))
    color = {"field": "digit", "transform": mapping}
    source = ColumnDataSource(frame)
    figure.scatter("x", "y", source=source, color=color, line_alpha=0.6, fill_alpha=0.6, size=4)
    plotting.save(figure, path, title=title, resources="inline")


def run(data, folder, out):
    """Run the cells and return the two accuracies."""
    with np.load(data) as arrays:
        x, y = arrays["images"].astype(np.float64), arrays["targets"]
    padded = np.pad(x.reshape(-1, 28, 28, 1), ((0, 0), (2, 2), (2, 2), (0, 0)), "constant")
    dense = models.load_model(f"{folder}/MNIST_dense128.h5", compile=False)
    lenet = models.load_model(f"{folder}/MNIST_LeNet60.h5", compile=False)
    umap_plot(f"{out}/raw.html", umap.UMAP().fit_transform(x.reshape(-1, 28 * 28)), x, y, title="MNIST test set")
    accuracies = {}
    for name, model, inputs in (("dense128", dense, x), ("LeNet60", lenet, padded)):
        inner = predict_until_layer(model, len(model.layers) - 2, inputs)
        answers = model.predict(inputs, verbose=0)
        said = np.argmax(answers, axis=1)
        for part, features in (("inner", inner), ("softmax", answers)):
            embedding = umap.UMAP().fit_transform(features)
            umap_plot(f"{out}/{name}_{part}.html", embedding, x, said, y, title=f"{name}, {part}")
        accuracies[name] = float((said == y).mean())
    return accuracies


for _ in sys.stdin:
    print(json.dumps(run(*sys.argv[1:4])), file=answers, flush=True)
