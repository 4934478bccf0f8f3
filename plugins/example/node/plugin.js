// A provider plugin in JavaScript: plugins/protocol/README.md in code. It brings one
// provider and signs its token requests.
const crypto = require('node:crypto')
const grpc = require('@grpc/grpc-js')
const loader = require('@grpc/proto-loader')
const protobuf = require('protobufjs')
const selfsigned = require('selfsigned')

const definition = {
  id: 'node_service',
  name: 'Node Service',
  authorizationUrl: 'https://node.example/oauth/authorize',
  tokenUrl: 'https://node.example/oauth/token',
}

const provider = {
  Describe: (_, answer) => answer(null, {
    version: '1.0.0',
    providers: [{ definition: Buffer.from(JSON.stringify(definition)), hooks: ['token_request'] }],
  }),

  // node.example wants the body signed with the client's secret.
  TokenRequest: ({ request }, answer) => {
    const { client, request: http } = request
    if (!client.secret) {
      return answer({ code: grpc.status.FAILED_PRECONDITION, details: 'Node Service needs a client secret' })
    }
    const signature = crypto.createHmac('sha256', client.secret).update(http.body).digest('hex')
    answer(null, { request: { ...http, headers: { ...http.headers, 'X-Signature': signature } } })
  },
}

const health = { Check: (_, answer) => answer(null, { status: 'SERVING' }) }

const load = (text) => grpc.loadPackageDefinition(loader.fromJSON(protobuf.parse(text, { keepCase: true }).root.toJSON(), { keepCase: true, enums: String }))
const { Provider } = load(require('../../protocol/provider.proto')).invectd.plugin.v1
const { Health } = load(`syntax = "proto3"; package grpc.health.v1;
  message HealthCheckRequest { string service = 1; }
  message HealthCheckResponse { enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; } ServingStatus status = 1; }
  service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }`).grpc.health.v1

async function main() {
  if (process.env.INVECTD_PLUGIN !== 'provider') {
    console.error('This is a plugin of invectd: put it into the plugins folder.')
    process.exit(1)
  }
  // Both sides show a certificate made for this one run.
  const own = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec', curve: 'P-256', algorithm: 'sha256',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }, { name: 'basicConstraints', cA: true }],
  })
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(process.env.PLUGIN_CLIENT_CERT),
    [{ private_key: Buffer.from(own.private), cert_chain: Buffer.from(own.cert) }],
    true,
  )
  const server = new grpc.Server()
  server.addService(Provider.service, provider)
  server.addService(Health.service, health)
  const path = `${process.env.PLUGIN_UNIX_SOCKET_DIR}/plugin.sock`
  server.bindAsync(`unix:${path}`, credentials, (failed) => {
    if (failed) throw failed
    const certificate = new crypto.X509Certificate(own.cert).raw.toString('base64').replace(/=+$/, '')
    console.log(`1|1|unix|${path}|grpc|${certificate}`)
  })
}

main()
