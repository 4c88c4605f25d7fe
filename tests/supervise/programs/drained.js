'use strict';
// node drained.js PORT: a server with everything that keeps a connection open. It cleans up at SIGINT, and ends when it has nothing to do.
//
// /          the pid                              /hold    an answer that comes with the next /go
// /go        lets go of what is held              /stream  begins to answer, and goes on with the next /go
// /listen/N  listens on port N too                /FORM    one of `forms`: headers given in some way
const http = require('node:http');

const held = [];
const forms = {
  set: (response) => response.setHeader('Connection', 'keep-alive').setHeader('X-A', '1').end('body'),
  object: (response) => response.writeHead(201, { connection: 'keep-alive', 'X-A': '1' }).end('body'),
  words: (response) => response.writeHead(201, 'As Wanted', { Connection: 'keep-alive', 'X-A': ['1', '2'] }).end('body'),
  array: (response) => response.writeHead(200, ['CONNECTION', 'keep-alive', 'X-A', '1', 'X-A', '2']).end('body'),
  both: (response) => response.setHeader('X-A', '1').writeHead(200, { 'X-B': '2', Connection: 'keep-alive' }).end('body'),
  none: (response) => response.writeHead(204).end(),
  length: (response) => response.writeHead(200, undefined, { 'Content-Length': 4 }).end('body'),
  flushed: (response) => {
    response.setHeader('X-A', '1').flushHeaders();
    response.end('body');
  },
};

const server = http.createServer((request, response) => {
  const [, path, argument] = request.url.split('/');
  if (path === 'hold') {
    held.push(response);
  } else if (path === 'stream') {
    response.write('begun\n');
    held.push(response);
  } else if (path === 'go') {
    for (const one of held.splice(0)) one.end(String(process.pid));
    response.end('gone');
  } else if (path === 'listen') {
    http.createServer().listen(Number(argument), () => response.end('listening'));
  } else if (forms[path]) {
    forms[path](response);
  } else {
    response.end(String(process.pid));
  }
});
server.keepAliveTimeout = 60000;
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.pipe(socket);
});
server.on('close', () => console.log('close event'));
server.listen(Number(process.argv[2]));
process.on('SIGINT', () => {
  console.log('cleaning up', JSON.stringify(server.address()), server.listening);
  server.close((error) => console.log('closed:', error));
});
