// Omniboard for this project: on this machine only, with the columns that matter first.
//
//     ALIQUOT_OMNIBOARD=~/omniboard node analysis/omniboard.js --mu mongodb://127.0.0.1:27017/sacred
//
// ALIQUOT_OMNIBOARD is the folder where `npm install omniboard` was run; the options are Omniboard's own, PORT is its port (else 9000).
// By itself Omniboard listens to the whole network and lets everybody delete runs. It keeps the choice of columns in the browser and
// starts with every option of a run, 70 columns: here a browser without a choice gets COLUMNS, the rest is under "Show/Hide Columns".

'use strict'

const fs = require('fs')
const net = require('net')
const path = require('path')

const COLUMNS = { // and their widths in pixels; c_ marks an option of the run
  _id: 60, experiment_name: 150, c_dataset: 120, c_heuristic: 160, c_run: 90, status: 120, result: 170, start_time: 170, duration: 110,
  command: 110, notes: 110
}

// Runs in the browser, before Omniboard: stores the state in which its table starts, under the key that the table uses.
function arrange(widths) {
  const key = 'default|RunsTable|1'
  if (localStorage.getItem(key)) return
  const request = new XMLHttpRequest()
  request.open('GET', '/sacred/api/v1/Runs?select=config', false)
  request.send()
  const runs = request.status === 200 ? JSON.parse(request.responseText) : []
  const options = [...new Set(runs.flatMap(run => Object.keys(run.config || {})))]
  if (options.length === 0) return
  const others = ['hostname', 'stop_time', 'heartbeat', 'tags', 'format', 'resources', ...options.map(name => 'c_' + name)]
  const columns = [...new Set([...Object.keys(widths), ...others])]
  const places = { experiment_name: 'experiment.name', hostname: 'host.hostname', tags: 'omniboard.tags', notes: 'omniboard.notes' }
  options.forEach(name => { places['c_' + name] = 'config.' + name })
  const label = name => name.split('_').map(part => part.charAt(0).toUpperCase() + part.slice(1)).join(' ').trim()
  localStorage.setItem(key, JSON.stringify({
    columnOrder: Object.keys(widths),
    columnWidths: Object.fromEntries(columns.map(name => [name, widths[name] || 150])),
    dropdownOptions: columns.map(name => ({ label: label(name), value: name, selected: name in widths })),
    columnNameMap: places,
    sort: { _id: 'DESC' }
  }))
}

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, port, '127.0.0.1', ...rest)
}

const folder = process.env.ALIQUOT_OMNIBOARD || process.cwd()
if (!fs.existsSync(path.join(folder, 'node_modules', 'omniboard'))) {
  console.error(`no Omniboard in ${folder}: run "npm install --prefix ${folder} omniboard@2.16.1", or set ALIQUOT_OMNIBOARD`)
  process.exit(1)
}
const start = require.resolve('omniboard/dist/start.js', { paths: [folder] })
const express = require(require.resolve('express', { paths: [path.dirname(start)] }))
const sendFile = express.response.sendFile
express.response.sendFile = function (file, ...rest) {
  if (path.basename(file) !== 'index.html') return sendFile.call(this, file, ...rest)
  const script = `<script>(${arrange})(${JSON.stringify(COLUMNS)})</script>`
  return this.send(fs.readFileSync(file, 'utf8').replace('<head>', () => '<head>' + script))
}

process.on('unhandledRejection', reason => console.error(String(reason))) // a database that is down at the start is tried again
require(start)
