// Both supervisors start this file as it is. It crashes more often than PM2's default of 16 allows.
module.exports = {
  apps: [{ name: 'web', script: 'server.js', exec_mode: 'cluster', instances: Number(process.env.INSTANCES), max_restarts: 1000 }],
};
