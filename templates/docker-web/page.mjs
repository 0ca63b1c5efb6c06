// Opens the model as web.json says, runs the golden samples and tells whether the outputs are theirs.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array,
  float16: globalThis.Float16Array ?? Uint16Array,
};

const json = async (path) => (await fetch(path)).json();

// The library that web.json names first; it leaves the global `ort`.
function library(name) {
  return new Promise((done, failed) => {
    const script = Object.assign(document.createElement('script'), { src: `dist/${name}`, onload: () => done(globalThis.ort) });
    script.onerror = () => failed(new Error(`${name} cannot be loaded`));
    document.head.append(script);
  });
}

function tensor(ort, entry, blob) {
  const array = ARRAYS[entry.dtype];
  if (!array) throw new Error(`onnxruntime-web has no tensors of ${entry.dtype}`);
  return new ort.Tensor(entry.dtype, new array(blob.slice(entry.offset, entry.offset + entry.size)), entry.shape);
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

function numbers(value) {
  const halves = value.type === 'float16' && value.data instanceof Uint16Array;
  return Array.from(value.data, halves ? half : Number);
}

// The largest error and the signal-to-noise ratio in dB; null where outputs are equal.
function compare(found, wanted) {
  if (found.type !== wanted.type || String(found.dims) !== String(wanted.dims)) return { same: false, error: null, snr: null };
  const a = numbers(found), b = numbers(wanted);
  let error = 0, noise = 0, power = 0, odd = false;
  for (let at = 0; at < b.length; at += 1) {
    const difference = a[at] === b[at] ? 0 : Math.abs(a[at] - b[at]);
    odd ||= !Number.isFinite(difference);
    error = Math.max(error, difference);
    noise += difference ** 2;
    power += b[at] ** 2;
  }
  return { same: !odd, error: odd ? null : error, snr: noise && !odd ? 10 * Math.log10(power / noise) : null };
}

async function check() {
  const [web, golden] = await Promise.all([json('web.json'), json('golden.json')]);
  const blob = await (await fetch(golden.file)).arrayBuffer();
  const ort = await library(web.files[0].name);
  Object.assign(ort.env.wasm, web.env.wasm, { wasmPaths: new URL('dist/', location.href).href });
  const session = await ort.InferenceSession.create(web.models[0].name, web.session_options);
  const outputs = [];
  for (const sample of golden.samples) {
    const feeds = Object.fromEntries(Object.entries(sample.inputs).map(([name, entry]) => [name, tensor(ort, entry, blob)]));
    const results = await session.run(feeds);
    for (const [name, entry] of Object.entries(sample.outputs)) {
      outputs.push({ name, ...compare(results[name], tensor(ort, entry, blob)) });
    }
  }
  return { tag: web.tag, isolated: crossOriginIsolated, threads: ort.env.wasm.numThreads, samples: golden.samples.length, outputs };
}

const told = await check().catch((error) => ({ failed: String(error?.message ?? error).slice(0, 2000) }));
document.querySelector('#state').textContent = JSON.stringify(told);
if (location.hash === '#report') await fetch('report', { method: 'POST', body: JSON.stringify(told) });
