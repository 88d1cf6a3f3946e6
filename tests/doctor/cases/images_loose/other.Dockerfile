# finds F20
FROM python:3.12-slim
# finds F20
RUN <<EOF
set -e
pip install crewai
EOF
# finds F20
RUN poetry install --no-root
CMD ["python", "main.py"]
