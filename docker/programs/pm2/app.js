// PM2 sends SIGINT, unless PM2_KILL_SIGNAL says otherwise; a process may not hear it twice.
const http = require('node:http');
const server = http.createServer((request, response) => {
  response.write('begun\n');
  setTimeout(() => response.end('end\n'), request.url === '/slow' ? 3000 : 0);
});
server.listen(8080, '127.0.0.1', () => console.log('ready'));
process.once('SIGINT', () => server.close(() => process.exit(0)));
