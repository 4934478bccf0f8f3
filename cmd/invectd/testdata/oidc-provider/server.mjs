// Runs oidc-provider on a free port of 127.0.0.1, over TLS, as the JSON in CONFIG
// says ({clients, key, certificate, authority}), and prints its issuer once it
// answers. Whoever is sent to its login and consent is ada, and agrees, unless
// login_hint is "deny".
import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const config = JSON.parse(process.env.CONFIG);
const server = createServer({
  key: config.key, cert: config.certificate, ca: config.authority, requestCert: true, rejectUnauthorized: false,
});
await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
const issuer = `https://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: config.clients,
  clientAuthMethods: [
    'none', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'tls_client_auth',
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => {
        const { raw } = ctx.socket.getPeerCertificate();
        return raw && new X509Certificate(raw).toString();
      },
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_subject_dn'
        && new X509Certificate(ctx.socket.getPeerCertificate().raw).subject === expected,
    },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  scopes: ['openid', 'read'],
  ttl: { AccessToken: 600 },
});

async function decide(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (params.login_hint === 'deny') {
    await provider.interactionFinished(request, response, { error: 'access_denied' });
    return;
  }
  if (prompt.name === 'login') {
    await provider.interactionFinished(request, response, { login: { accountId: 'ada' } });
    return;
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope('openid read offline_access');
  await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

const answer = provider.callback();
server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) {
    answer(request, response);
    return;
  }
  decide(request, response).catch((error) => {
    response.statusCode = 500;
    response.end(error.stack);
  });
});
provider.on('server_error', (ctx, error) => console.error(error));
process.stdin.on('end', () => process.exit()).resume(); // whoever started it is gone
console.log(issuer);
