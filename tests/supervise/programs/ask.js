'use strict';
// node ask.js URL: one request by HTTP/2, and the body of its answer.
const session = require('node:http2').connect(process.argv[2], { rejectUnauthorized: false });
const request = session.request({ ':path': '/' });
request.on('data', (data) => process.stdout.write(data));
request.on('end', () => session.close());
