// A server that ends as it should: takes no more connections, and finishes the answers that it has begun.
const http = require('node:http');
const server = http.createServer((request, response) => {
  response.write('begun\n');
  setTimeout(() => response.end('end\n'), request.url === '/slow' ? 3000 : 0);
});
server.listen(8080, '127.0.0.1', () => console.log('ready'));
if (!process.argv.includes('deaf')) process.once('SIGTERM', () => server.close());
