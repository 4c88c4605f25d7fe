module.exports = { apps: [{ name: 'web', script: './fastify.js', instances: 2, exec_mode: 'cluster', kill_timeout: 60000 }] };
