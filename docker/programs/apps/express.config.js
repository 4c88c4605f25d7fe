module.exports = { apps: [{ name: 'web', script: 'express.js', instances: 2, exec_mode: 'cluster', kill_timeout: 60000 }] };
