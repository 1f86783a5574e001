// A certified OpenID Provider (npm oidc-provider) for tests, in the foreground, on 127.0.0.1:
//   node oidc_provider.mjs PORT          ISSUER, ACCESS_TTL (s), REDIRECT_URIS (commas), TLS_DIR (server.key, server.pem: https) from the environment
// Needs: install_npm.sh oidc-provider     Stop: kill -TERM
// Users: alice/alice-secret (groups developers, staff), bob/bob-secret (admins, staff), eve/eve-secret (none)
// Clients: gateway/gateway-secret (code, refresh, client_credentials), mcp-client (public, PKCE), machine/machine-secret
//   (client_credentials). Dynamic registration, PAR, device flow, DPoP, introspection, revocation, resource indicators on.
// Test controls: POST /_test/rotate[?drop=1]  new signing key first in the JWKS (drop=1: old keys leave at once)
//   POST /_test/fail?path=/jwks&status=503&count=3[&delay=2000]  the next count requests to that path fail or hang first
//   GET /_test/stats   requests served per path (shows how often a client fetches JWKS or discovery)
import http from 'node:http';
import https from 'node:https';
import fs from 'node:fs';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
// found in the node_modules of the directory PACKAGES (install_npm.sh makes it), wherever this file lies
const { Provider } = await import(pathToFileURL(createRequire(`${process.env.PACKAGES ?? process.cwd()}/x.js`).resolve('oidc-provider')));

const port = Number(process.argv[2] ?? 9000);
const tls = process.env.TLS_DIR;
const issuer = process.env.ISSUER ?? `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
const users = {
  alice: { password: 'alice-secret', name: 'Alice Example', email: 'alice@example.test', groups: ['developers', 'staff'] },
  bob: { password: 'bob-secret', name: 'Bob Example', email: 'bob@example.test', groups: ['admins', 'staff'] },
  eve: { password: 'eve-secret', name: 'Eve Example', email: 'eve@example.test', groups: [] },
};
const redirects = (process.env.REDIRECT_URIS ?? 'http://127.0.0.1:8080/callback,http://localhost:8080/callback').split(',');
const scopes = 'openid profile email groups offline_access mcp:read mcp:tools';
const clients = [
  { client_id: 'gateway', client_secret: 'gateway-secret', redirect_uris: redirects, response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'], post_logout_redirect_uris: redirects, scope: scopes },
  { client_id: 'mcp-client', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: redirects,
    response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'], scope: scopes },
  { client_id: 'machine', client_secret: 'machine-secret', redirect_uris: [], response_types: [],
    grant_types: ['client_credentials'], scope: 'mcp:read mcp:tools' },
];
const newKeys = () => [['rsa', { modulusLength: 2048 }, 'RS256'], ['ec', { namedCurve: 'P-256' }, 'ES256']].map(([t, o, alg]) => (
  { ...generateKeyPairSync(t, o).privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg }));
let keys = newKeys();
const accessTtl = Number(process.env.ACCESS_TTL ?? 300);

function build() {
  const p = new Provider(issuer, {
    clients, jwks: { keys }, scopes: scopes.split(' '),
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
    conformIdTokenClaims: false,          // put the scope's claims in the id_token too, as most IdPs do
    cookies: { keys: ['test-only-cookie-key'] },
    ttl: { AccessToken: accessTtl, ClientCredentials: accessTtl, IdToken: 300, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600, DeviceCode: 60 },
    pkce: { required: () => true },
    rotateRefreshToken: () => true,
    issueRefreshToken: async (ctx, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    interactions: { url: (ctx, i) => `/interaction/${i.uid}` },
    features: {
      devInteractions: { enabled: false }, clientCredentials: { enabled: true }, introspection: { enabled: true },
      revocation: { enabled: true }, registration: { enabled: true }, registrationManagement: { enabled: true },
      deviceFlow: { enabled: true }, pushedAuthorizationRequests: { enabled: true }, dPoP: { enabled: true },
      rpInitiatedLogout: { enabled: true }, backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true, defaultResource: () => undefined, useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({ scope: 'mcp:read mcp:tools', audience: resource, accessTokenTTL: accessTtl,
          accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
      },
    },
    extraTokenClaims: (ctx, token) => (token.accountId ? { groups: users[token.accountId]?.groups } : undefined),
    findAccount: (ctx, id) => users[id] && ({ accountId: id, claims: () => ({ sub: id, name: users[id].name, preferred_username: id,
      email: users[id].email, email_verified: true, groups: users[id].groups }) }),
    async loadExistingGrant(ctx) {        // consent is given without a page
      const { client, session, result, params } = ctx.oidc;
      const id = result?.consent?.grantId ?? session.grantIdFor(client.clientId);
      const grant = (id && await p.Grant.find(id)) ?? new p.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(params.scope ?? 'openid');
      for (const r of [params.resource ?? []].flat()) grant.addResourceScope(r, 'mcp:read mcp:tools');
      await grant.save();
      return grant;
    },
  });
  p.on('server_error', (ctx, e) => console.error('server_error', e));
  return p;
}
let provider = build(); let handle = provider.callback();
let fails = []; const stats = {};
const body = (req) => new Promise((ok) => { let b = ''; req.on('data', (d) => { b += d; }); req.on('end', () => ok(new URLSearchParams(b))); });
const page = (error = '') => `<!doctype html><title>Sign in</title><form method="post"><p>${error}</p><label>User <input name="login"></label>
<label>Password <input name="password" type="password"></label><button>Sign in</button></form>`;

async function route(req, res) {
  const url = new URL(req.url, issuer);
  if (url.pathname.startsWith('/_test/')) {
    if (url.pathname === '/_test/rotate') {
      keys = url.searchParams.get('drop') ? newKeys() : [...newKeys(), ...keys];
      provider = build(); handle = provider.callback();
    } else if (url.pathname === '/_test/fail') {
      const q = Object.fromEntries(url.searchParams);
      fails = fails.filter((f) => f.path !== q.path).concat({ path: q.path, status: Number(q.status ?? 503), left: Number(q.count ?? 1), delay: Number(q.delay ?? 0) });
    } else if (url.pathname !== '/_test/stats') { res.writeHead(404).end(); return; }
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ kids: keys.map((k) => k.kid), fails, stats })); return;
  }
  stats[url.pathname] = (stats[url.pathname] ?? 0) + 1;
  const f = fails.find((x) => x.path === url.pathname && x.left > 0);
  if (f) {
    f.left -= 1;
    if (f.delay) await new Promise((r) => { setTimeout(r, f.delay); });
    if (f.status) { res.writeHead(f.status, { 'content-type': 'application/json' }).end('{"error":"temporarily_unavailable"}'); return; }
  }
  if (url.pathname === '/.well-known/oauth-authorization-server') req.url = '/.well-known/openid-configuration';
  if (url.pathname.startsWith('/interaction/')) {
    const { prompt } = await provider.interactionDetails(req, res);
    if (prompt.name === 'consent') { await provider.interactionFinished(req, res, { consent: {} }, { mergeWithLastSubmission: true }); return; }
    if (req.method === 'POST') {
      const form = await body(req); const user = users[form.get('login')];
      if (user && user.password === form.get('password')) { await provider.interactionFinished(req, res, { login: { accountId: form.get('login') } }); return; }
      res.writeHead(401, { 'content-type': 'text/html' }).end(page('Wrong user or password.')); return;
    }
    res.writeHead(200, { 'content-type': 'text/html' }).end(page()); return;
  }
  await handle(req, res);
}
const guard = (req, res) => route(req, res).catch((e) => { console.error(e); if (!res.headersSent) res.writeHead(e.status ?? 500).end(String(e.message)); });
const server = tls ? https.createServer({ key: fs.readFileSync(`${tls}/server.key`), cert: fs.readFileSync(`${tls}/server.pem`) }, guard) : http.createServer(guard);
server.listen(port, '127.0.0.1', () => console.error(`listening ${issuer}`));
for (const s of ['SIGTERM', 'SIGINT']) process.on(s, () => { server.close(); server.closeAllConnections(); process.exit(0); });
