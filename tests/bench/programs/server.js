// What a Node application is to a supervisor: it listens, answers, and closes its server at SIGINT, as PM2's manual has it.
const http = require('node:http');
const answer = `${process.pid}\n`;
const server = http.createServer((request, response) => response.end(answer));
server.listen(process.env.PORT, '127.0.0.1');
process.once('SIGINT', () => server.close(() => process.exit(0)));
