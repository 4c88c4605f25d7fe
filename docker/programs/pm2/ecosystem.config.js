module.exports = { apps: [{ name: 'web', script: '/srv/app.js', instances: 2, exec_mode: 'cluster', kill_timeout: 4000 }] };
