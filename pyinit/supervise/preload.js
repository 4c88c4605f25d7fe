'use strict';
// What makes an unmodified Node program (18 to 24) one worker of several: loaded by `--require` before the program's first line.
//
// Its servers listen on sockets that the supervisor binds once for all workers and passes over Node's own IPC channel; on the
// supervisor's word they take no more connections and finish what they have; when the supervisor is gone they still end well.
// The supervisor is never in the data path. The other end is `channel.py`; the messages are listed there.
//
// Rejected: to pose as a worker of Node's `cluster` (its protocol is internal, and cluster.isWorker would have to be a lie);
// SO_REUSEPORT (to close one of two such sockets resets the connections that wait on it); `--require` as an argument (there is no
// place for it in `env node app.js` or behind `#!`, and it would have to be taken out of execArgv again).

const CMD = 'NODE_PYINIT'; // the prefix keeps a message from the program's own 'message' event (documented with process.send)
const COUNT_EVERY = 20; // ms between two looks at the connections that are left
const ROUND_TRIP = 250; // ms that a peer has for its answer
const FOR_EVER = 2 ** 31 - 1; // the longest timer there is: for one that is there only to keep the event loop alive

begin();

function begin() {
  // NODE_OPTIONS begins with the words that loaded this file. What the program starts is not to load it.
  const words = `--require "${__filename.replace(/[\\"]/g, '\\$&')}"`;
  const options = process.env.NODE_OPTIONS || '';
  if (options.startsWith(words)) {
    const rest = options.slice(words.length).trimStart();
    if (rest) process.env.NODE_OPTIONS = rest;
    else delete process.env.NODE_OPTIONS;
  }
  const worker = process.env.PYINIT_WORKER?.split('/').pop(); // as LISTEN_PID: the process that is meant
  if (worker === String(process.pid)) {
    if (!process.connected) return; // a thread: it is given --require too, but neither the channel nor signals
    shareSockets();
    outliveTheSupervisor();
  } else if (worker) {
    warn(
      `process ${process.pid} shares no port with its siblings: pyinitctl started process ${worker}, and that started this one; ` +
        'give the script itself as the command, not npm or a shell that runs it'
    );
  }
}

function warn(text) {
  process.emitWarning(text, 'PyinitWarning');
}

function shareSockets() {
  const net = require('net');
  const cluster = require('cluster'); // every listen() loads it
  const send = process.send.bind(process); // before the program can put something else in its place
  const answers = new Map(); // a request's number -> what to do with the answer
  const servers = new Map(); // server -> where it listens, for those with a socket of the supervisor's, until they are closed
  const sessions = new Set(); // HTTP/2
  const attempts = new WeakMap(); // server -> its last listen(), until it is closed
  let requests = 0;
  let draining = false;
  let alive = null; // what keeps the event loop going while draining

  // --- the channel ---

  function tell(act, fields) {
    if (process.connected) send({ cmd: CMD, act, ...fields }, () => {}); // a failure without a callback is an 'error' event
  }

  function ask(fields, answered) {
    const waiting = setInterval(() => {}, FOR_EVER); // a program that waits for 'listening' may have nothing else to do
    requests += 1;
    answers.set(requests, (message, handle) => {
      clearInterval(waiting);
      answered(message, handle);
    });
    tell('listen', { id: requests, ...fields });
  }

  process.on('internalMessage', (message, handle) => {
    if (!message || message.cmd !== CMD) return;
    if (message.act === 'drain') {
      drain();
    } else if (answers.has(message.id)) {
      const answered = answers.get(message.id);
      answers.delete(message.id);
      answered(message, handle);
    } else if (handle) {
      handle.close();
    }
  });

  // --- listening ---

  const { listen, close, _listen2: setUp } = net.Server.prototype;

  net.Server.prototype.listen = function (...args) {
    attempts.set(this, { isOwn: Boolean(args[0]?.exclusive || args[0]?.reusePort) });
    return Reflect.apply(listen, this, args);
  };
  net.Server.prototype.close = function (...args) {
    attempts.delete(this);
    return Reflect.apply(close, this, args);
  };

  // Every listen() ends here, its arguments in order and the host resolved; Node's source keeps the name for those who wrap it.
  net.Server.prototype._listen2 = function (address, port, type, backlog, fd, flags) {
    const goOn = (isShared) => {
      Reflect.apply(setUp, this, [address, port, type, backlog, fd, flags]);
      if (this._handle) tell('listening', { host: address, port, shared: isShared });
    };
    const attempt = attempts.get(this);
    if (this._handle || typeof fd === 'number' || !(port > 0) || attempt?.isOwn || !process.connected) return goOn(false);

    ask({ host: address, port, backlog, only6: Boolean(flags & 1) }, (message, handle) => {
      const where = `${message.host} ${port}`;
      const isTaken = () => [...servers].some(([server, other]) => other === where && server.listening);
      if (attempts.get(this) !== attempt) {
        if (handle) handle.close();
      } else if (!handle) {
        this.emit('error', failure(message.errno, message.host, port));
      } else if (isTaken()) {
        handle.close(); // by another server of this process: Node lets nobody listen twice
        this.emit('error', failure(require('os').constants.errno.EADDRINUSE, message.host, port));
      } else {
        this._handle = handle;
        serve(this, where);
        goOn(true);
        if (draining) stopAccepting(this);
      }
    });
    return undefined;
  };

  function serve(server, where) {
    if (!servers.has(server)) {
      watchAnswers();
      server.on('session', onSession); // only servers of HTTP/2 have any
      server.once('close', () => {
        server.off('session', onSession);
        servers.delete(server);
      });
    }
    servers.set(server, where);
  }

  // --- draining ---

  function drain() {
    if (draining) return;
    draining = true;
    for (const server of servers.keys()) stopAccepting(server);
    for (const session of sessions) goAway(session);
    let last;
    alive = setInterval(count, COUNT_EVERY);
    count();

    async function count() {
      let left = 0;
      for (const server of servers.keys()) left += await connections(server);
      if (left === last) return;
      last = left;
      tell('draining', { connections: left });
      if (left) return;
      clearInterval(alive);
      if (alive.hasRef()) alive = setInterval(() => {}, FOR_EVER);
    }
  }

  // Without its servers the event loop may have nothing to do, and the program would end before the stop signal that it cleans up
  // at. From that signal (or message) on it ends when it will. A listener would be seen: signal-exit counts them.
  const { emit } = process;
  process.emit = function (name, ...args) {
    if (alive && (name === 'message' || String(name).startsWith('SIG'))) alive.unref();
    return Reflect.apply(emit, this, [name, ...args]);
  };

  function connections(server) {
    return new Promise((resolve) => {
      server.getConnections((error, number) => resolve(error ? 0 : number));
    });
  }

  // The listening socket is closed, in this process. The server keeps something to close, so that the program notices nothing: to
  // Node a server without a handle is closed once its last connection is, and close() is then an error.
  function stopAccepting(server) {
    const handle = server._handle;
    if (!handle) return; // closed by the program, or `cluster` has taken it
    const name = {};
    handle.getsockname(name);
    const nothing = () => {};
    server._handle = {
      close: nothing,
      ref: nothing,
      unref: nothing,
      hasRef: () => false,
      getsockname: (out) => Number(!Object.assign(out, name)),
    };
    handle.close();
  }

  function onSession(session) {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    if (draining) goAway(session);
  }

  // RFC 9113, 6.8: first a GOAWAY that refuses nothing, and after a round trip the one that says which stream was the last. A peer
  // with nothing to wait for may have fallen silent at the first (nghttp2 has).
  function goAway(session) {
    if (session.closed || session.destroyed) return;
    const close = () => session.close();
    session.goaway(0, 2 ** 31 - 1);
    session.ping(close);
    setTimeout(close, ROUND_TRIP).unref();
  }

  // Every answer of HTTP/1 passes through writeHead with its headers, whatever the program or a framework does to them.
  function watchAnswers() {
    if (watchAnswers.done) return;
    watchAnswers.done = true;
    const { ServerResponse } = require('http'); // not earlier: a program without HTTP never gets here, or only once it listens
    const { writeHead } = ServerResponse.prototype;
    ServerResponse.prototype.writeHead = function (status, reason, headers) {
      if (!draining || status < 200) return Reflect.apply(writeHead, this, [status, reason, headers]);
      return typeof reason === 'string'
        ? Reflect.apply(writeHead, this, [status, reason, closing(headers)])
        : Reflect.apply(writeHead, this, [status, closing(headers ?? reason)]);
    };
    ServerResponse.prototype.writeHeader = ServerResponse.prototype.writeHead; // its old name
  }

  // --- the program's own workers ---

  const { fork } = cluster;
  let isWarned = false;
  cluster.fork = function (...args) {
    if (!isWarned) {
      isWarned = true;
      warn(
        "this program starts workers of its own (cluster.fork) and is itself one of pyinitctl's: that makes more processes than " +
          'asked for, and pyinitctl cannot drain them; leave that part out, or set instances = 1'
      );
    }
    return Reflect.apply(fork, this, args);
  };
  require('module').syncBuiltinESMExports(); // for `import { fork } from 'cluster'`
}

// The headers given to writeHead, in any of its three forms, with `Connection: close` in place of whatever they say about it.
function closing(headers) {
  const isKept = (name) => String(name).toLowerCase() !== 'connection';
  if (!Array.isArray(headers)) {
    const kept = Object.entries(headers ?? {}).filter(([name]) => isKept(name));
    return { ...Object.fromEntries(kept), Connection: 'close' };
  }
  if (Array.isArray(headers[0])) return [...headers.filter(([name]) => isKept(name)), ['Connection', 'close']];
  const kept = [];
  for (let i = 0; i < headers.length; i += 2) if (isKept(headers[i])) kept.push(headers[i], headers[i + 1]);
  return [...kept, 'Connection', 'close'];
}

// What Node makes of a failed listen().
function failure(number, address, port) {
  const [code, words] = require('util').getSystemErrorMap().get(-number) ?? ['UNKNOWN', 'unknown error'];
  const error = new Error(`listen ${code}: ${words} ${address}:${port}`);
  return Object.assign(error, { code, errno: -number, syscall: 'listen', address, port });
}

// When the supervisor is killed, what it held is closed, and PID 1 sends SIGTERM to whoever is left.
function outliveTheSupervisor() {
  const supervisor = process.ppid;

  // Descriptors 1 and 2 lead to the supervisor alone: when nobody reads them, it is gone, and that is no reason to end at once.
  // (process.ppid may still be its: it closes its descriptors first.)
  for (const name of ['stdout', 'stderr']) {
    const property = Object.getOwnPropertyDescriptor(process, name);
    if (!property?.get) continue;
    const get = () => {
      const stream = Reflect.apply(property.get, process, []); // made when first used, which takes some milliseconds
      Object.defineProperty(process, name, property);
      stream.on('error', function (error) {
        if (error.code !== 'EPIPE' && this.listenerCount('error') === 1) throw error; // as it would be without us
      });
      return stream;
    };
    Object.defineProperty(process, name, { ...property, get });
  }

  // Programs that were written for PM2 clean up at SIGINT only. A listener for SIGTERM has to be there before the signal is, but
  // only in such a program: to others (signal-exit, for one) it matters how many there are.
  function onTerm() {
    if (process.listenerCount('SIGTERM') > 1) return;
    if (process.ppid !== supervisor && process.emit('SIGINT', 'SIGINT', 2)) return;
    process.removeListener('SIGTERM', onTerm);
    process.kill(process.pid, 'SIGTERM'); // the default
  }
  function giveWay() {
    if (process.listenerCount('SIGTERM') > 1) process.removeListener('SIGTERM', onTerm);
  }
  process.on('newListener', (name, listener) => {
    if (name === 'SIGINT' && !process.listenerCount('SIGTERM')) process.on('SIGTERM', onTerm);
    else if (name === 'SIGTERM' && listener !== onTerm) process.nextTick(giveWay); // Node stops watching a signal without listeners
  });
}
