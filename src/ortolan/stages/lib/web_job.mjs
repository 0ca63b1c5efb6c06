// Runs one model on samples with onnxruntime-web; the same code in Node and in a page.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array,
  float16: globalThis.Float16Array ?? Uint16Array,
};

// What ONNX Runtime says while it works: in a page its C++ part writes to the console.
export function listen() {
  const said = [];
  for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
    console[level] = (...words) => said.push(words.map(String).join(' '));
  }
  return said;
}

function tensor(ort, entry, blob) {
  if (entry.strings) return new ort.Tensor('string', entry.strings, entry.dims);
  const array = ARRAYS[entry.type];
  if (!array) throw new Error(`onnxruntime-web has no tensors of ${entry.type}`);
  return new ort.Tensor(entry.type, new array(blob.slice(entry.at, entry.at + entry.bytes)), entry.dims);
}

function packed(outputs, parts) {
  const entries = {};
  for (const [name, value] of Object.entries(outputs)) {
    if (value.type === 'string') {
      entries[name] = { type: value.type, dims: [...value.dims], strings: [...value.data] };
      continue;
    }
    const bytes = new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength).slice();
    entries[name] = { type: value.type, dims: [...value.dims], at: parts.size, bytes: bytes.length };
    parts.size += bytes.length;
    parts.push(bytes);
  }
  return entries;
}

function signature(value) {
  return { name: value.name, dtype: value.type ?? 'undefined', shape: value.shape ? [...value.shape] : null };
}

// `job` is what web.py writes; the answer's first four bytes are the length of its JSON, after which the tensors follow.
export async function run(ort, job, model, blob, said) {
  const parts = Object.assign([], { size: 0 });
  const answer = { opens: false, runs: false, error: '', results: [], inputs: [], outputs: [] };
  try {
    Object.assign(ort.env.wasm, job.wasm);
    if (job.verbose) ort.env.logLevel = 'verbose';
    const session = await ort.InferenceSession.create(new Uint8Array(model), job.session);
    answer.opens = true;
    answer.inputs = session.inputMetadata.map(signature);
    answer.outputs = session.outputMetadata.map(signature);
    for (const sample of job.samples) {
      const feeds = Object.fromEntries(Object.entries(sample).map(([name, entry]) => [name, tensor(ort, entry, blob)]));
      answer.results.push(packed(await session.run(feeds, { logSeverityLevel: 3 }), parts));
    }
    answer.runs = true;
  } catch (error) {
    answer.error = String(error?.message ?? error);
  }
  answer.version = ort.env.versions?.web ?? ort.env.versions?.common ?? '';
  answer.threads = ort.env.wasm.numThreads ?? 0;
  answer.said = said;
  const head = new TextEncoder().encode(JSON.stringify(answer));
  const whole = new Uint8Array(4 + head.length + parts.size);
  new DataView(whole.buffer).setUint32(0, head.length, true);
  whole.set(head, 4);
  let at = 4 + head.length;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
