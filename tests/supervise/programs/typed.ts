import { createServer, type Server } from 'node:http';

const port: number = Number(process.argv[2]);
const server: Server = createServer((_request, response) => response.end(String(process.pid)));
server.listen(port);
