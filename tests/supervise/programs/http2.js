'use strict';
// node http2.js serve PORT: answers / at once, and /hold when anything is asked of the port that it prints, which is its own.
// node http2.js ask PORT: one session that waits for /hold and an idle one; prints what becomes of both.
const http = require('node:http');
const http2 = require('node:http2');
const [what, port] = process.argv.slice(2);

if (what === 'serve') {
  const held = [];
  const server = http2.createServer((request, response) => {
    if (request.url === '/hold') held.push(response);
    else response.end('here');
  });
  server.listen(Number(port));
  const control = http.createServer((request, response) => {
    for (const one of held.splice(0)) one.end('held');
    response.end();
  });
  control.listen(0, '127.0.0.1', () => console.log('control', control.address().port));
} else {
  const ask = (session, path) =>
    new Promise((resolve, reject) => {
      const request = session.request({ ':path': path });
      let body = '';
      request.setEncoding('utf8').on('data', (data) => (body += data)).on('end', () => resolve(body)).on('error', reject);
    });
  const [busy, idle] = ['busy', 'idle'].map((name) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on('goaway', (code, last) => console.log(name, 'goaway', code, last));
    session.on('close', () => console.log(name, 'closed'));
    return session;
  });
  (async () => {
    await ask(idle, '/');
    const answer = ask(busy, '/hold');
    await ask(busy, '/'); // so the server has the other one too
    console.log('holding');
    console.log('answer', await answer);
  })();
}
