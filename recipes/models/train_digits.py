"""Makes what the demo models consist of from scikit-learn's digits: weights, an ONNX file and two data sets.

It needs PyTorch and scikit-learn, in an environment of its own:

    uv venv --python 3.11 /tmp/train
    uv pip install --python /tmp/train torch==2.13.0 onnx==1.23.2 numpy==2.4.6 safetensors==0.8.0 scikit-learn==1.9.1
    /tmp/train/bin/python recipes/models/train_digits.py

It writes beside itself, in about a minute. The same versions on the same kind of processor write the same bytes.
The digits are 1,797 images of 8×8 pixels from 0 to 16: the test part of Alpaydin and Kaynak's Optical Recognition of Handwritten
Digits (UCI Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from digits import build
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from torch.nn import functional

HERE = Path(__file__).parent
EPOCHS, BATCH, RATE, DECAY = 40, 64, 4e-3, 1e-3
CALIBRATION = 128
Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def main() -> None:
    """Split once, train both models on the training part, write everything, print accuracies on the held-out part."""
    train, held_out = split()
    np.savez_compressed(HERE / "digits-calibration.npz", image=train[0][:CALIBRATION])
    np.savez_compressed(HERE / "digits-evaluation.npz", image=held_out[0], label=held_out[1])
    print(f"digits: {train_network(train, held_out):.4f} of {len(held_out[1])} held-out images")
    print(f"digits-mlp: {train_mlp(train, held_out):.4f}")


def split() -> tuple[Arrays, Arrays]:
    """Images [n, 1, 8, 8] float32 in [0, 1] and labels [n] int64; a quarter of each class is held out."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    parts = train_test_split(images, digits.target.astype(np.int64), test_size=0.25, stratify=digits.target, random_state=0)
    return (parts[0], parts[2]), (parts[1], parts[3])


def train_network(train: Arrays, held_out: Arrays) -> float:
    """Train the network of digits.py and write digits.safetensors; its accuracy on the held-out images."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    network = build()
    images, labels = map(torch.from_numpy, train)
    steps = EPOCHS * -(-len(labels) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(network(shifted(images[chosen])), labels[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    save_file(network.state_dict(), HERE / "digits.safetensors")
    network.eval()
    with torch.no_grad():
        found = network(torch.from_numpy(held_out[0])).argmax(1)
    return float((found.numpy() == held_out[1]).mean())


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Each image moved by up to one pixel each way, the border filled with 0."""
    windows = functional.pad(images, (1, 1, 1, 1)).unfold(2, 8, 1).unfold(3, 8, 1)
    down, right = torch.randint(0, 3, (2, len(images)))
    return windows[torch.arange(len(images)), :, down, right]


def train_mlp(train: Arrays, held_out: Arrays) -> float:
    """Train a perceptron with scikit-learn and write digits-mlp.onnx; its accuracy on the held-out images."""
    mlp = MLPClassifier((64, 32), alpha=1e-2, max_iter=400, random_state=0)
    mlp.fit(train[0].reshape(-1, 64), train[1])
    onnx.save(mlp_model(mlp), HERE / "digits-mlp.onnx")
    return float(mlp.score(held_out[0].reshape(-1, 64), held_out[1]))


def mlp_model(mlp: Any) -> onnx.ModelProto:
    """The perceptron as exporters of 2018 wrote it: opset 9, IR 3, every initializer an input too."""
    nodes = [helper.make_node("Flatten", ["image"], ["hidden_0"], axis=1)]
    tensors = []
    for index, (weight, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        names = [f"weight_{index}", f"bias_{index}"]
        tensors += [
            numpy_helper.from_array(array.astype(np.float32), name) for array, name in zip((weight, bias), names, strict=True)
        ]
        nodes.append(helper.make_node("Gemm", [f"hidden_{index}", *names], [f"linear_{index}"]))
        nodes.append(helper.make_node("Relu", [f"linear_{index}"], [f"hidden_{index + 1}"]))
    nodes[-1] = helper.make_node("Softmax", [nodes[-1].input[0]], ["probabilities"], axis=1)
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])]
    inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(mlp.classes_)])]
    graph = helper.make_graph(nodes, "digits-mlp", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=3, producer_name="train_digits.py")


if __name__ == "__main__":
    main()
