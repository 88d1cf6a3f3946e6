FROM python:3.12-slim
COPY dist/*.whl .
# finds F20
RUN pip install *.whl
USER app
CMD ["python", "-m", "app"]
