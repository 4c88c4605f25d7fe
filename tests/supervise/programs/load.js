'use strict';
// node load.js PORT keep|close [CONNECTIONS]: requests without a pause. To a number on stdin it answers with a line as soon as it has
// had so many answers more; at the end of stdin it stops, and prints one line of JSON.
//
// keep: each connection is used until an answer says close; close: a connection for each request. Whatever is not a whole answer is a
// failure. A connection that ended between two requests is none of the server's fault: it is what `Connection: close` avoids, so it is
// one when nothing had announced it.
const net = require('node:net');

const [port, way, connections = '20'] = process.argv.slice(2);
const result = { answers: 0, closing: 0, connections: 0, failures: [], by: {} };
let isOver = false;
let next = 0; // how many answers to say so at
let running = Number(connections);

function open() {
  const socket = net.connect(Number(port), '127.0.0.1');
  let text = '';
  let isAnswered = false; // and the connection is to be closed now
  const ask = () => {
    text = '';
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\n${way === 'close' ? 'Connection: close\r\n' : ''}\r\n`);
  };
  result.connections += 1;
  socket.setNoDelay(true).setEncoding('utf8');
  socket.on('connect', ask);
  socket.on('error', (error) => fail(error.code));
  socket.on('close', () => {
    if (!isAnswered) fail(`ended after ${JSON.stringify(text)}`);
    if (!isOver) open();
    else if (--running === 0) process.stdout.write(`${JSON.stringify(result)}\n`);
  });
  socket.on('data', (data) => {
    text += data;
    const end = text.indexOf('\r\n\r\n');
    const length = /content-length: (\d+)/i.exec(text);
    if (end < 0 || !length || text.length < end + 4 + Number(length[1])) return;
    if (!text.startsWith('HTTP/1.1 200')) fail(text);
    const who = text.slice(end + 4);
    result.answers += 1;
    if (result.answers === next) process.stdout.write('reached\n');
    result.by[who] = (result.by[who] ?? 0) + 1;
    if (/\r\nconnection: close/i.test(text)) {
      result.closing += 1;
      isAnswered = true;
      socket.end();
    } else if (isOver) {
      isAnswered = true;
      socket.end();
    } else {
      ask();
    }
  });
  function fail(what) {
    if (!isAnswered) result.failures.push(what);
    isAnswered = true;
  }
}

process.stdin.on('data', (data) => {
  next = result.answers + Number(data);
});
process.stdin.on('end', () => {
  isOver = true;
});
for (let i = 0; i < running; i += 1) open();
