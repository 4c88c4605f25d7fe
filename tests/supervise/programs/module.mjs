// node module.mjs PORT: an ES module that waits for its server at the top level, and has nothing else to do meanwhile.
import { createServer } from 'node:http';
import { once } from 'node:events';

const server = createServer((request, response) => response.end(String(process.pid)));
await once(server.listen(Number(process.argv[2])), 'listening');
console.log('here');
