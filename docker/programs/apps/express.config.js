module.exports = { apps: [{ name: 'web', script: 'express.js', instances: 2, exec_mode: 'cluster' }] };
