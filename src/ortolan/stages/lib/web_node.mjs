// node web_node.mjs BUNDLE JOB MODEL SAMPLES ANSWER: runs a job in this process.

import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { run } from './web_job.mjs';

const [bundle, job, model, samples, answer] = process.argv.slice(2);
const read = (path) => new Uint8Array(readFileSync(path)).buffer;
const ort = await import(pathToFileURL(bundle).href);
writeFileSync(answer, await run(ort.default ?? ort, JSON.parse(readFileSync(job, 'utf8')), read(model), read(samples), []));
process.exit(0); // worker threads of the wasm would keep it alive
