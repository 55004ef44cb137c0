import AsyncHTTPClient
import Crypto
import Vitals
