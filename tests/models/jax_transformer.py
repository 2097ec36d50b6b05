# tests/models/jax_transformer.py — a small transformer lowered by JAX: weights as constants and as arguments, pretty and generic text, with
# locations, and with symbolic shapes; each run by `bascule` and compared with JAX's answers.
#   python -m venv v && v/bin/pip install jax && v/bin/python tests/models/jax_transformer.py build/bascule
# Ends with 0 if all agree, 77 where jax is not installed.
import subprocess
import sys
import tempfile

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import export
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

D, V, L, H = 16, 50, 2, 2  # width, vocabulary, layers, heads


def norm(x, gain):
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * gain


def block(x, p):
    heads = lambda t: t.reshape(t.shape[0], t.shape[1], H, D // H).transpose(0, 2, 1, 3)
    q, k, v = map(heads, jnp.split(norm(x, p["g1"]) @ p["wqkv"], 3, axis=-1))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(D // H)
    n = scores.shape[-1]
    scores = jnp.where(jnp.tril(jnp.ones((n, n), bool)), scores, -1e30)
    x = x + (jax.nn.softmax(scores, -1) @ v).transpose(0, 2, 1, 3).reshape(x.shape) @ p["wo"]
    return x + jax.nn.gelu(norm(x, p["g2"]) @ p["w1"]) @ p["w2"]


def model(params, ids):
    x = params["emb"][ids] + params["pos"][: ids.shape[1]]
    x, _ = jax.lax.scan(lambda x, p: (block(x, p), None), x, params["layers"])
    logits = x @ params["emb"].T
    return {"logits": logits, "next": jnp.argmax(logits[:, -1], -1)}


def main(bascule):
    r = np.random.RandomState(0)
    w = lambda *shape: jnp.asarray(r.randn(*shape).astype(np.float32) * 0.2)
    layers = dict(g1=w(L, D) + 1, g2=w(L, D) + 1, wqkv=w(L, D, 3 * D), wo=w(L, D, D), w1=w(L, D, 4 * D), w2=w(L, 4 * D, D))
    params = dict(emb=w(V, D), pos=w(32, D), layers=layers)
    ids = r.randint(0, V, (2, 7)).astype(np.int32)
    closed, whole = jax.jit(lambda ids: model(params, ids)), jax.jit(model)
    lowered = whole.lower(params, ids)
    sizes = export.symbolic_shape("b, s", constraints=["s <= 32"])
    symbolic = export.export(closed, platforms=["cpu"])(jax.ShapeDtypeStruct(sizes, jnp.int32))
    only, flat = {"arg0": ids}, {f"arg{i}": np.asarray(x) for i, x in enumerate(jax.tree_util.tree_leaves((params, ids)))}
    texts = {
        "constants": (closed.lower(ids).as_text(), only),
        "locations": (closed.lower(ids).as_text(debug_info=True), {"ids": ids}),
        "arguments": (lowered.as_text(), flat),
        "generic": (lowered.compiler_ir("stablehlo").operation.get_asm(print_generic_op_form=True), flat),
        "symbolic": (symbolic.mlir_module(), only),
    }
    want = {"out:" + k: np.asarray(v) for k, v in whole(params, ids).items()}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        np.savez(folder + "/want.npz", **want)
        for name, (text, inputs) in texts.items():
            path = f"{folder}/{name}.mlir"
            with open(path, "w") as f:
                f.write(text)
            np.savez(folder + "/in.npz", **inputs)
            for device in ("reference", "cpu"):
                command = [bascule, "run", path, "--input", folder + "/in.npz", "--expected", folder + "/want.npz", "--tolerance", "1e-5", "--device", device]
                p = subprocess.run(command, capture_output=True, text=True)
                print(f"{name} on {device}: {'ok' if p.returncode == 0 else p.stdout + p.stderr}")
                wrong += p.returncode != 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
