const fastify = require('fastify')();
fastify.get('/', async () => String(process.pid));
fastify.listen({ port: 8080, host: '127.0.0.1' });
