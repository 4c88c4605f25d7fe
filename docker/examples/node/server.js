// Closes its server after a SIGTERM, and ends with status 7.
const server = require("http").createServer((request, response) => response.end("hello\n"));

process.on("SIGTERM", () => {
  console.log("got SIGTERM");
  server.close(() => process.exit(7));
});
server.listen(8080, () => console.log("ready"));
