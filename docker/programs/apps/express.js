const express = require('express');
const app = express();
app.get('/', (request, response) => response.send(String(process.pid)));
app.listen(8080, '127.0.0.1');
