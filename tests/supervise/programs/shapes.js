'use strict';
// node shapes.js SHAPE PORT [PORT]: listens as programs do; every answer is the pid of who gave it.
const fs = require('node:fs');
const http = require('node:http');

const answer = (request, response) => response.end(String(process.pid));
const server = () => http.createServer(answer);
const secrets = () => ({ key: fs.readFileSync(process.env.KEY), cert: fs.readFileSync(process.env.CERTIFICATE) });

const shapes = {
  port: (port) => server().listen(port),
  host: (port) => server().listen(port, '127.0.0.1'),
  name: (port) => server().listen(port, 'localhost'),
  everywhere: (port) => server().listen(port, '0.0.0.0'),
  six: (port) => server().listen(port, '::'),
  'six-alone': (port) => server().listen({ port, host: '::', ipv6Only: true }),
  options: (port) => server().listen({ port }),
  'options-host': (port) => server().listen({ port, host: '127.0.0.1', backlog: 100 }),
  text: (port) => server().listen(String(port)),
  backlog: (port) => server().listen(port, '127.0.0.1', 100, () => {}),
  two: (port, other) => {
    server().listen(port);
    server().listen(other, '127.0.0.1');
  },
  again: (port) => {
    const one = server().listen(port, () => one.close(() => one.listen(port)));
  },
  unref: (port) => {
    server().listen(port).unref();
    process.on('message', () => {}); // the channel keeps it alive
  },
  tcp: (port) => require('node:net').createServer((socket) => socket.end(String(process.pid))).listen(port),
  https: (port) => require('node:https').createServer(secrets(), answer).listen(port),
  h2c: (port) => require('node:http2').createServer(answer).listen(port),
  h2: (port) => require('node:http2').createSecureServer(secrets(), answer).listen(port),
  express: (port) => require('express')().get('/', answer).listen(port),
  koa: (port) => {
    const Koa = require('koa');
    new Koa().use((context) => { context.body = String(process.pid); }).listen(port);
  },
  fastify: (port) => fastify({ port, host: '127.0.0.1' }),
  'fastify-localhost': (port) => fastify({ port }), // a server for each address of that name
};

function fastify(options) {
  const app = require('fastify')();
  app.get('/', async () => String(process.pid));
  app.listen(options);
}

const [shape, ...ports] = process.argv.slice(2);
shapes[shape](...ports.map(Number));
