"""Runs an authorization server of Authlib on a free port of 127.0.0.1.

Its clients are in the JSON of CONFIG. It prints its issuer once it answers, and
ends with its standard input. Whoever is sent to it is ada, and agrees.
"""
import json
import logging
import os
import sys
import threading
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin, ClientMixin, TokenMixin
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant, DeviceCredentialDict
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

# The last is ours: it is either of those with an assertion, whichever a client is registered with.
METHODS = ['client_secret_basic', 'client_secret_post', 'none', 'assertion']


class Client(ClientMixin):
    def __init__(self, id, method, secret='', key=''):
        self.id, self.method, self.secret, self.key = id, method, secret, key

    def get_client_id(self):
        return self.id

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri == CONFIG['redirectUri']

    def check_client_secret(self, client_secret):
        return self.secret == client_secret

    def check_endpoint_auth_method(self, method, endpoint):
        return method == (self.method if not self.method.endswith('_jwt') else 'assertion')

    def check_response_type(self, response_type):
        return response_type == 'code'

    def check_grant_type(self, grant_type):
        return True


class Code(AuthorizationCodeMixin):
    auth_time, nonce = None, None

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class Token(TokenMixin):
    revoked = False

    def __init__(self, client, user, fields):
        self.client, self.user, self.issued_at = client, user, time.time()
        self.__dict__.update(fields)

    def check_client(self, client):
        return self.client == client.id

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return self.expires_in

    def is_expired(self):
        return self.issued_at + self.expires_in < time.time()

    def is_revoked(self):
        return self.revoked


CONFIG = json.loads(os.environ['CONFIG'])
CLIENTS = {fields['id']: Client(**fields) for fields in CONFIG['clients']}
codes, tokens, devices, decisions, assertions = {}, [], {}, {}, set()


def find_token(text, hint):
    return next((t for t in tokens if text in (t.access_token, getattr(t, 'refresh_token', None))), None)


class CodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def save_authorization_code(self, code, request):
        codes[code] = Code(
            code=code, client_id=request.client.id, redirect_uri=request.redirect_uri, scope=request.scope, user=request.user,
            code_challenge=request.data.get('code_challenge'), code_challenge_method=request.data.get('code_challenge_method'))

    def query_authorization_code(self, code, client):
        found = codes.get(code)
        return found if found and found.client_id == client.id else None

    def delete_authorization_code(self, authorization_code):
        del codes[authorization_code.code]

    def authenticate_user(self, authorization_code):
        return authorization_code.user


class RefreshGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        found = find_token(refresh_token, 'refresh_token')
        return found if found and not found.revoked else None

    def authenticate_user(self, credential):
        return credential.user

    def revoke_old_credential(self, credential):
        credential.revoked = True


class ClientGrant(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class DeviceGrant(DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def query_device_credential(self, device_code):
        return devices.get(device_code)

    def query_user_grant(self, user_code):
        return ('ada', decisions[user_code]) if user_code in decisions else None

    def should_slow_down(self, credential):
        asked, credential['asked'] = credential.get('asked', 0), time.time()
        return time.time() - asked < credential['interval'] - 1


class AssertionGrant(JWTBearerGrant):
    def resolve_issuer_client(self, issuer):
        return CLIENTS[issuer]

    def resolve_client_key(self, client, headers, payload):
        return client.key

    def authenticate_user(self, subject):
        return subject if subject == 'ada' else None

    def has_granted_permission(self, client, user):
        return True


class DeviceEndpoint(DeviceAuthorizationEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def get_verification_uri(self):
        return ISSUER + '/device'

    def save_device_credential(self, client_id, scope, data):
        devices[data['device_code']] = DeviceCredentialDict(
            client_id=client_id, scope=scope, expires_at=time.time() + data['expires_in'], **data)


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token, token_type_hint):
        return find_token(token, token_type_hint)

    def check_permission(self, token, client, request):
        return token.check_client(client)

    def introspect_token(self, token):
        return {'active': True, 'client_id': token.client, 'exp': int(token.issued_at + token.expires_in)}


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token, token_type_hint):
        return find_token(token, token_type_hint)

    def revoke_token(self, token, request):
        token.revoked = True


class Assertion(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = 'assertion'

    def create_claims_options(self):
        options = super().create_claims_options()
        options['aud'] = {'essential': True, 'values': [ISSUER + path for path in ('/token', '/device_authorization', '/introspect', '/revoke')]}
        return options

    def validate_jti(self, claims, jti):
        fresh = jti not in assertions
        assertions.add(jti)
        return fresh

    def resolve_client_public_key(self, client, headers):
        return client.secret if client.method == 'client_secret_jwt' else client.key


app = Flask(__name__)
listening = make_server('127.0.0.1', 0, app, threaded=True)
ISSUER = 'http://127.0.0.1:%d' % listening.server_port
AssertionGrant.CLAIMS_OPTIONS = {
    'iss': {'essential': True}, 'aud': {'essential': True, 'value': ISSUER + '/token'}, 'exp': {'essential': True}}
app.config['OAUTH2_TOKEN_EXPIRES_IN'] = {'authorization_code': 600, 'client_credentials': 600, DEVICE_CODE_GRANT_TYPE: 600}
app.config['OAUTH2_REFRESH_TOKEN_GENERATOR'] = True
server = AuthorizationServer(
    app, query_client=CLIENTS.get,
    save_token=lambda token, request: tokens.append(Token(request.client.id, request.user, token)))
server.register_grant(CodeGrant, [CodeChallenge(required=True)])
for grant in RefreshGrant, ClientGrant, DeviceGrant, AssertionGrant:
    server.register_grant(grant)
for endpoint in DeviceEndpoint, Introspection, Revocation:
    server.register_endpoint(endpoint)
server.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion(ISSUER + '/token'))


@app.get('/.well-known/oauth-authorization-server')
def metadata():
    return jsonify(
        issuer=ISSUER, authorization_endpoint=ISSUER + '/authorize', token_endpoint=ISSUER + '/token',
        device_authorization_endpoint=ISSUER + '/device_authorization', introspection_endpoint=ISSUER + '/introspect',
        revocation_endpoint=ISSUER + '/revoke')


@app.get('/authorize')
def authorize():
    return server.create_authorization_response(grant_user='ada' if request.args.get('login_hint') != 'deny' else None)


@app.post('/token')
def token():
    return server.create_token_response()


@app.post('/device_authorization')
def device_authorization():
    return server.create_endpoint_response(DeviceEndpoint.ENDPOINT_NAME)


@app.post('/introspect')
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


@app.post('/revoke')
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


@app.route('/device', methods=['GET', 'POST'])
def device():
    if request.method == 'GET':
        return '<form action="/device"><input name="user_code" value="%s"></form>' % request.args.get('user_code', '')
    decisions[request.form['user_code']] = 'abort' not in request.form
    return 'You may close this window.'


def leave():
    sys.stdin.read()  # whoever started it is gone
    os._exit(0)


logging.getLogger('werkzeug').setLevel(logging.ERROR)
threading.Thread(target=leave).start()
print(ISSUER, flush=True)
listening.serve_forever()
